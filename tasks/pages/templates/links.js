// In a sandboxed frame the page has an address of its own that may not be navigated, not even to
// a place inside itself: links within the page are then followed by hand.
if (/^(blob|about):/.test(location.href)) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const goal = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!goal) return;
    event.preventDefault();
    goal.tabIndex = -1;
    goal.scrollIntoView();
    goal.focus({ preventScroll: true });
  });
}
