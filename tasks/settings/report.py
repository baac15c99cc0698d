"""What the owner of a model answers in its report and on its card, and the questions asked."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from rnn.config import FORBID_EXTRA, PrivacyConfig
from tasks.settings.data import Name
from tasks.settings.no_privacy import NoPrivacy

PEOPLE = ("person", "people")
# By the unit of the promise, where the recipe says nothing.
USUAL = {"person": PEOPLE, "record": ("record", "records"), None: ("row", "rows")}
Word = Annotated[str, MinLen(1)]


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        field: of ReportConfig.
        label: short, for a list.
        prompt: the question in full.
    """

    field: str
    label: str
    prompt: str


USE = (
    Question("purpose", "Purpose", "What is the model for?"),
    Question("intended_use", "Intended use", "Who uses what it says, to decide what?"),
    Question("out_of_scope", "Out of scope", "What must it not be used for?"),
    Question("people_affected", "People affected", "Whose life does it touch, and how?"),
    Question("harms", "Harms", "What can go wrong for them, and what is done against it?"),
    Question("human_review", "Human review", "Who sees it first, and may decide otherwise?"),
    Question("appeal", "Appeal", "How does somebody learn of a decision, and object to it?"),
    Question("jobs_changed", "Jobs changed", "Whose work changes or goes away, who asked them?"),
    Question("next_review", "Next review", "When is it looked at again, and what withdraws it?"),
    Question("owner", "Owner", "Who answers for it?"),
    Question("contact", "Contact", "Where do questions and complaints go?"),
)
ORIGIN = (
    Question("data_source", "Source", "Where do the data come from?"),
    Question("data_dates", "Dates", "What time are they of?"),
    Question("data_licence", "Licence", "Under which terms are they used?"),
)


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """The owner's own words; an empty answer is shown as unanswered.

    Attributes:
        rows: what one row of the data is called on pages, and several; people, records or rows
            by the unit of privacy where nothing is said.
    """

    __pydantic_config__ = FORBID_EXTRA

    title: Name
    purpose: str = ""
    intended_use: str = ""
    out_of_scope: str = ""
    people_affected: str = ""
    harms: str = ""
    human_review: str = ""
    appeal: str = ""
    jobs_changed: str = ""
    next_review: str = ""
    data_source: str = ""
    data_dates: str = ""
    data_licence: str = ""
    owner: str = ""
    contact: str = ""
    rows: tuple[Word, Word] | None = None


def check_rows(report: ReportConfig, privacy: PrivacyConfig | NoPrivacy) -> None:
    """Refuse to call people, whom a promise names, something else.

    Raises:
        ValueError: one line naming the field.
    """
    if report.rows in (None, PEOPLE) or isinstance(privacy, NoPrivacy):
        return
    if privacy.unit == "person":
        raise ValueError(
            f"report.rows = {list(report.rows or ())}: privacy is promised by person; allowed is "
            f"{list(PEOPLE)}, or nothing"
        )


def rows_called(report: ReportConfig, unit: str | None) -> tuple[str, str]:
    """Return what a row is called on pages, and several.

    Args:
        report: which may say so.
        unit: of the promise of privacy; None where none is made.

    Example:
        >>> rows_called(ReportConfig(title="t"), None)
        ('row', 'rows')
    """
    return report.rows or USUAL[unit]
