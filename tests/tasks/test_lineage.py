"""Published digests: only who holds the key can test a guess at the data."""

import hashlib
import hmac
import json
import stat
import threading
from pathlib import Path

import pytest

from tasks import artifacts, lineage
from tasks.params import UserError

SECRET = "0123456789abcdef" * 4


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one recipe made from two local files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    files = []
    for name, text in (("a.csv", "id,y\n1,0\n"), ("b.csv", "id,y\n2,1\n")):
        Path(name).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        files.append({"path": name, "sha256": digest, "size": len(text)})
    artifacts.write_json(Path("data/small/raw/manifest.json"), {"files": files})
    return tmp_path


def _publish(root: Path) -> str:
    digest = lineage.lineage("small", root)
    artifacts.write_json(Path("data/small/report/published/model_card.json"), {"lineage": digest})
    return digest


def test_it_is_hmac_of_the_files_digests(root: Path) -> None:
    (root / ".sordino").mkdir()
    (root / lineage.KEY).write_text(SECRET)
    lines = "".join(
        hashlib.sha256(Path(name).read_bytes()).hexdigest() + "\n" for name in ("a.csv", "b.csv")
    )
    data = hashlib.sha256(lines.encode()).hexdigest()
    wanted = hmac.new(SECRET.encode(), f"data\0{data}".encode(), hashlib.sha256).hexdigest()
    assert lineage.lineage("small", root) == wanted[:32]


def test_the_key_is_random_private_and_stays(root: Path) -> None:
    first = lineage.key_of(root)
    assert len(bytes.fromhex(first.decode())) == 32
    assert stat.S_IMODE((root / lineage.KEY).stat().st_mode) == 0o600
    assert lineage.key_of(root) == first
    assert lineage.key_of(root / "another checkout") != first
    (root / lineage.KEY).chmod(0o644)
    lineage.key_of(root)
    assert stat.S_IMODE((root / lineage.KEY).stat().st_mode) == 0o600


def test_many_at_once_make_one_key(root: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(lineage.key_of(root))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_without_the_key_a_right_guess_looks_like_a_wrong_one(root: Path) -> None:
    digest = _publish(root)
    plain = lineage.data_digest(lineage.manifest_of("small"))
    guesses = [plain, *(f["sha256"] for f in lineage.manifest_of("small")["files"])]
    for guess in guesses:
        for known in (b"", b"sordino", b"data"):
            assert lineage.keyed(known, "data", guess) != digest
        assert digest not in guess and not guess.startswith(digest)


def test_the_holder_of_the_key_verifies(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = _publish(root)
    lineage.main(["verify", "small"])
    lineage.main(["verify", "small", digest.upper()])
    said = capsys.readouterr().out.splitlines()
    assert said == [f"small: {digest} is of the 2 raw file(s) that lie here"] * 2


def test_where_files_lie_does_not_matter(root: Path) -> None:
    digest = _publish(root)
    manifest = Path("data/small/raw/manifest.json")
    found = json.loads(manifest.read_text())
    for file in found["files"]:
        (root / "elsewhere").mkdir(exist_ok=True)
        Path(file["path"]).rename(root / "elsewhere" / file["path"])
        file["path"] = f"elsewhere/{file['path']}"
    artifacts.write_json(manifest, found)
    assert lineage.verify("small", root, digest) == 2


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda: Path("a.csv").write_text("id,y\n1,1\n"), "a.csv is not the file"),
        (lambda: Path("b.csv").unlink(), "b.csv is gone"),
        (lambda: Path(".sordino/lineage.key").unlink(), "lineage.key is missing"),
        (lambda: Path(".sordino/lineage.key").write_text(SECRET), "with another key"),
        (lambda: Path("data/small/raw/manifest.json").unlink(), "manifest.json is missing"),
    ],
)
def test_what_does_not_verify_is_one_line(root: Path, spoil: object, says: str) -> None:
    _publish(root)
    assert callable(spoil)
    spoil()
    with pytest.raises(UserError, match=says) as caught:
        lineage.main(["verify", "small"])
    assert "\n" not in str(caught.value)


def test_another_manifest_that_fits_other_files_does_not_verify(root: Path) -> None:
    _publish(root)
    Path("a.csv").write_text("id,y\n1,1\n")
    manifest = Path("data/small/raw/manifest.json")
    found = json.loads(manifest.read_text())
    found["files"][0]["sha256"] = hashlib.sha256(b"id,y\n1,1\n").hexdigest()
    artifacts.write_json(manifest, found)
    with pytest.raises(UserError, match="is not of the data that lie here"):
        lineage.main(["verify", "small"])


@pytest.mark.parametrize("argv", [[], ["small"], ["show", "small"], ["verify", "a", "b", "c"]])
def test_usage(argv: list[str]) -> None:
    with pytest.raises(UserError, match=r"usage: python -m tasks\.lineage verify RECIPE"):
        lineage.main(argv)


def test_dvc_knows_a_folder_by_the_same_hash(tmp_path: Path) -> None:
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db.local import LocalHashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    for name in ("b.txt", "a/z", "a b", "a-c"):
        file = tmp_path / "made" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    files = LocalFileSystem()
    store = LocalHashFileDB(files, str(tmp_path / "store"))
    _, _, made = build(store, str(tmp_path / "made"), files, "md5", dry_run=True)
    assert lineage.dvc_hash(tmp_path / "made") == made.hash_info.value
    (tmp_path / "made" / "b.txt").write_text("c")
    assert lineage.dvc_hash(tmp_path / "made") != made.hash_info.value
