"""What weights saw before they came here, and whether that was this recipe's own people.

Of well-known files the table below says it, whatever a recipe states or forgets.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from tasks.params import UserError
from tasks.recipe import DataConfig
from tasks.settings.start import Facts, StartConfig, TrainedOn

# Under raw/: the weights and what is known of them.
FOLDER, FACTS = "start", "facts.json"

_WIKI = TrainedOn(
    data="148,275 names of people with an article in Wikipedia (Ambekar et al. 2009)",
    files=(
        "bbf07b44779f2227e9edcd7c6fca9fc0f4a0d84a2678d53fd216b9b4de53dc50",
        "ethnicolr/data/wiki/wiki_name_race.csv",
    ),
)
_FLORIDA = TrainedOn(data="names and races in the voter registration of Florida, 2017 or 2022")
_CAROLINA = TrainedOn(data="names and races in the voter registration of North Carolina")
_CENSUS = TrainedOn(
    data="last names with shares of races, United States census of 2000 or 2010",
    files=(
        "ethnicolr/data/census/census_2000.csv",
        "ethnicolr/data/census/census_2010.csv",
    ),
)
_GLOVE = TrainedOn(data="Wikipedia of 2014 and the news collection Gigaword 5, counted by GloVe")
# SHA-256 of a file of weights or vectors -> what it saw.
KNOWN = {
    "87205542b593b87599593447f184890a993b3efadfa97b309ca5f0ff1ce5aa44": _WIKI,
    "b4ee0865569060f0c2375383297a5d35874a23606c654bf9c657d20cb29aae2b": _WIKI,
    "0dd338e8e5ae0d91480ad2a0b4be3ab655e4b79b8d03ad629fc1f64498f24142": _CENSUS,
    "0ef6f36748932a3ff285de51a428a91b9a5343593faa67e70795339c7f28b739": _CENSUS,
    "f91ac37d2a0b4ce92479bbe68c23c37acf152bbb5f8a74bb4de901ea0576dc94": _FLORIDA,
    "dbddeae6b1fe5f92ec7f8422a34258c9cfb21f799478db3c5bea91acb3b987f9": _FLORIDA,
    "a8d0c61ed9bb37c0ae309c57bcc38bba08a8b2b6bf7085bae6431d765c06f17f": _FLORIDA,
    "4bc83851c3553834d89ab82356d43fa77f444112c500987847c9ecbdb9a343a4": _FLORIDA,
    "48d82477c30402056a47a2cd39b24c84944bf317601c9f5b1cdda97bcd2b44d2": _FLORIDA,
    "5824ba3d09ae9cc10d59b239215ad35825e78102d7a23c808ea2dcdf1294c1fd": _FLORIDA,
    "74e106d34770e0c4590a5f325f5280cd46fee44b338dd60e510392e47bff4cdd": _CAROLINA,
    "fa7580daf8db4e3a4c8a9a412b3c9fad7803df9e20989549f8a7185a146c4bad": _CAROLINA,
    "6bd762e6c3291f95df0b7f835182d0ffaf60a70a51691e69092ea47aedce776f": _CAROLINA,
    "2fef8caf164a73bbe48f53efc94dbe403c522612a5d07e984476dc41e735726c": _CAROLINA,
    "09f2be88365d409829bd22ccc77b2e2fec36b277d57576f2c1f5a0e1d0178b17": _CAROLINA,
    "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15": _GLOVE,
}


def seen_by(sha256: str, stated: TrainedOn | None) -> TrainedOn | None:
    """Return what a file saw: what a recipe states, and what is known of the file.

    Args:
        sha256: of the file.
        stated: by the recipe.
    """
    known = KNOWN.get(sha256)
    if known is None or stated is None:
        return known or stated
    # Nobody can state away what a known file saw, nor that nothing was promised to it.
    files = tuple(dict.fromkeys([*stated.files, *known.files]))
    return replace(known, data=stated.data, files=files)


def common(seen: Iterable[str], names: Iterable[str]) -> str | None:
    """Return what weights saw that is also this recipe's source; None where nothing is.

    Args:
        seen: digests, members, addresses or populations.
        names: from `tasks.starting.planned.names_of`.

    Example:
        >>> common(["./People.csv"], ["data/people.csv", "people.csv"])
        'people.csv'
        >>> common(["other.csv"], ["people.csv"]) is None
        True
    """
    plain = {_plain(name): name for name in names}
    return next((plain[_plain(one)] for one in seen if _plain(one) in plain), None)


def _plain(name: str) -> str:
    """A name without what may be written in two ways."""
    return name if "://" in name else str(PurePosixPath(name)).lower()


def refuse_seen(facts: Facts, names: Iterable[str]) -> None:
    """Refuse weights that saw this recipe's people where no ledger of ours holds it.

    Args:
        facts: of the weights.
        names: from `tasks.starting.planned.names_of`.

    Raises:
        UserError: the recipe's source is among what they saw.
    """
    met = common(facts.files, names)
    if met is not None:
        promise = "without privacy"
        if facts.privacy != "none":
            promise = "under a promise that is in no ledger here"
        raise UserError(
            f"start: {facts.origin} was trained {promise} on {met}, this recipe's own data: what "
            "it remembers of these people no noise hides any more, and held-out people are no "
            "test of it; allowed are weights that saw other people"
        )


def package_facts(start: StartConfig) -> Facts | None:
    """Return what is known of a package's weights; None of others."""
    if start.package is None:
        return None
    saw = seen_by(start.package.sha256, start.trained_on)
    assert saw is not None
    return Facts(
        origin=f"{PurePosixPath(start.package.member).name} of {start.package.package}",
        sha256=start.package.sha256,
        data=saw.data,
        files=saw.files,
        privacy=saw.privacy,
    )


def vectors_facts(data: DataConfig) -> list[Facts]:
    """Return what is known of the vectors that an embedding begins with; of one list at most."""
    spec = data.texts.get("sequence")
    package = spec.vocabulary.package if spec is not None and spec.vocabulary else None
    if package is None or package.vectors is None:
        return []
    vectors = package.vectors
    saw = seen_by(vectors.sha256, vectors.trained_on)
    return [
        Facts(
            origin=f"{PurePosixPath(vectors.member).name} of {package.package}",
            sha256=vectors.sha256,
            data=saw.data if saw else "text that the recipe does not name",
            files=saw.files if saw else (),
            privacy=saw.privacy if saw else "none",
        )
    ]
