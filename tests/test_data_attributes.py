"""What a user says of the items: one value for each stored item, by its name, or a refusal that names the line."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from audit import request
from audit.data import attributes, manifest
from audit.data.sample import Sample
from audit.data.sources import of_object, open_source
from audit.dataset import Attribute, DataSource, Manifest
from audit.entries import DataEntry
from audit.errors import AuditError
from audit.records import TaskRecord
from audit.types import DataRole
from tests.conftest import Command
from tests.test_data import header
from tests.world import NAMES, Items, World

N = 12
X, Y = Items(n=N).arrays()
WEATHER = ("rain", "dry", "fog")
ROWS = [f"{item},{WEATHER[item % 3]},{'north' if item < 5 else 'south'}" for item in range(N)]
HEADER = "item,weather,site"


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "test.npz"
    np.savez(path, **{"x": X, "y": Y, **arrays})
    return path


def opened(folder: Path, text: str | bytes, **arrays: np.ndarray) -> DataSource:
    """The items with this CSV."""
    (folder / "a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    entry = DataEntry(path=saved(folder, **arrays).name, attributes="a.csv")
    return open_source(entry, folder, DataRole.TEST)


def csv(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def values(found: Manifest, name: str) -> list[str]:
    """The value of every distinct item."""
    own = next(each for each in found.attributes if each.name == name)
    return [own.values[code] for code in own.codes]


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(AuditError) as caught:
        opened(folder, text)
    assert caught.value.code == 2
    return caught.value.what.removeprefix(f"{folder / 'a.csv'}: ")


def test_every_item_has_the_value_of_its_row(tmp_path: Path) -> None:
    found = opened(tmp_path, csv(*ROWS)).manifest
    assert [each.name for each in found.attributes] == ["site", "weather"]
    assert values(found, "weather") == [WEATHER[item % 3] for item in range(N)]
    assert values(found, "site") == ["north"] * 5 + ["south"] * 7
    site, weather = found.attributes
    assert (weather.values, weather.counts) == (("dry", "fog", "rain"), (4, 4, 4))
    assert (site.values, site.counts) == (("north", "south"), (5, 7))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.permutations(ROWS), turned=st.booleans())
def test_neither_the_order_of_rows_nor_that_of_columns_means_anything(
    tmp_path: Path, rows: list[str], turned: bool
) -> None:
    header = HEADER
    if turned:
        rows, header = [",".join(reversed(row.split(","))) for row in rows], "site,weather,item"
    one, other = (opened(tmp_path, text).manifest for text in (csv(*ROWS), csv(*rows, header=header)))
    digests = [[each.sha256(found.digest) for each in found.attributes] for found in (one, other)]
    assert digests[0] == digests[1]


def test_another_value_of_one_item_is_another_attribute(tmp_path: Path) -> None:
    one = opened(tmp_path, csv(*ROWS)).manifest
    other = opened(tmp_path, csv(*ROWS[:-1], f"{N - 1},rain,south")).manifest
    renamed = opened(tmp_path, csv(*(row.replace("fog", "mist") for row in ROWS))).manifest
    found = {each.attributes[1].sha256(each.digest) for each in (one, other, renamed)}
    assert len(found) == 3
    assert one.attributes[0].sha256(one.digest) == other.attributes[0].sha256(other.digest)


def test_without_a_column_of_items_rows_are_the_items_in_their_order(tmp_path: Path) -> None:
    rows = [row.partition(",")[2] for row in ROWS]
    found = opened(tmp_path, csv(*rows, header="weather,site")).manifest
    assert values(found, "weather") == [WEATHER[item % 3] for item in range(N)]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + csv(*ROWS).encode(),
        csv(*ROWS).replace("\n", "\r\n"),
        csv(*ROWS).replace("rain", '"rain"'),
        csv(*ROWS).replace("rain", "  rain "),
        csv(*ROWS).removesuffix("\n"),
        csv(*ROWS).replace("weather", " weather "),
    ],
)
def test_how_a_csv_is_written_does_not_matter(tmp_path: Path, text: str | bytes) -> None:
    one, other = (opened(tmp_path, each).manifest for each in (csv(*ROWS), text))
    assert [values(one, name) for name in ("site", "weather")] == [values(other, name) for name in ("site", "weather")]


LONG = "x" * 101
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no row": (csv(*ROWS[:-2]), "has no row for 2 of 12 items, such as '10'"),
    "twice": (csv(*ROWS, ROWS[3]), "line 14: item '3' is there already, on line 5"),
    "no item": (csv(*ROWS[:-1], "12,rain,north"), "line 13: there is no item '12'"),
    "no number": (csv("00,rain,north", *ROWS[1:]), "line 2: there is no item '00'"),
    "negative": (csv(*ROWS[:-1], "-1,rain,north"), "line 13: there is no item '-1'"),
    "long name": (csv(*ROWS, f"{LONG},rain,north"), f"line 14: there is no item '{'x' * 100}'…"),
    "too many": (csv(*["rain"] * 13, header="weather"), "line 14: is one row more than the 12 items"),
    "too few": (csv(*["rain"] * 11, header="weather"), "has no row for 1 of 12 items, such as '11'"),
    "empty": (csv(*ROWS[:4], "4, ,north", *ROWS[5:]), "line 6, column 'weather': is empty"),
    "short": (csv(*ROWS[:4], "4,rain", *ROWS[5:]), "line 6: has 2 fields, the header has 3"),
    "blank": (csv(*ROWS[:4], "", *ROWS[4:]), "line 6: has 0 fields, the header has 3"),
    "long": (
        csv(f"0,{LONG},north", *ROWS[1:]),
        f"line 2, column 'weather': '{'x' * 100}'… is longer than 100 characters",
    ),
    "tab": (
        csv('0,"ra\tin",north', *ROWS[1:]),
        r"line 2, column 'weather': 'ra\tin' holds a character that cannot be printed",
    ),
    "NUL": (
        csv("0,rain\0,north", *ROWS[1:]),
        r"line 2, column 'weather': 'rain\x00' holds a character that cannot be printed",
    ),
    "right to left": (
        csv("0,\u202eniar,north", *ROWS[1:]),
        r"line 2, column 'weather': '\u202eniar' holds a character that cannot be printed",
    ),
    "name": (
        csv(*ROWS, header="item,wea\0ther,site"),
        r"a column: 'wea\x00ther' holds a character that cannot be printed",
    ),
    "unnamed": (csv(*ROWS, header="item,,site"), "one column has no name"),
    "one name": (csv(*ROWS, header="item,site,site"), "two columns are called 'site'"),
    "two items": (csv(*ROWS, header="item,item,site"), "two columns are called 'item'"),
    "Item": (csv(*ROWS, header="Item,weather,site"), "a column is called 'Item'"),
    "other name": (csv(*ROWS, header="image,weather,site"), "column 'image' has another value for every item"),
    "nothing": ("", "holds 0 attributes"),
    "only items": (csv(*map(str, range(N)), header="item"), "holds 0 attributes"),
    "many": (csv(header=",".join(f"a{number}" for number in range(17))), "holds 17 attributes"),
    "quote": (csv('0,"rain,north', *ROWS[1:]), "line 13: is not valid CSV (unexpected end of data)"),
    "after quote": (csv('0,"rain"x,north', *ROWS[1:]), "line 2: is not valid CSV (',' expected after '\"')"),
    "field": (
        csv(f"0,{'x' * 200_000},north", *ROWS[1:]),
        "line 2: is not valid CSV (field larger than field limit (131072))",
    ),
    "latin": (csv(*ROWS).replace("fog", "ö").encode("latin-1"), "line 4: is not UTF-8 (invalid start byte)"),
    "utf-16": (csv(*ROWS).encode("utf-16"), "line 1: is not UTF-8 (invalid start byte)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_sound_is_refused_by_line(tmp_path: Path, case: str) -> None:
    text, said = REFUSED[case]
    assert refusal(tmp_path, text) == said


def test_a_csv_has_a_limit_in_bytes_and_one_in_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "VALUES", 2)
    assert refusal(tmp_path, csv(*ROWS)) == "line 4, column 'weather': 'fog' is one value more than 2"
    monkeypatch.setattr(attributes, "BYTES", 100)
    assert refusal(tmp_path, csv(*ROWS)) == f"holds {len(csv(*ROWS))} bytes, more than 100"


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    saved(tmp_path)
    entry = DataEntry(path="test.npz", attributes="none.csv")
    for said in ("cannot be read", "is not a regular file"):
        with pytest.raises(AuditError, match=rf"none\.csv: {said}"):
            open_source(entry, tmp_path, DataRole.TEST)
        (tmp_path / "none.csv").mkdir(exist_ok=True)


ARRAYS = {
    "weather": np.asarray([WEATHER[item % 3] for item in range(N)]),
    "sensor": np.asarray([item % 2 for item in range(N)], ">i4"),
    "wet": np.arange(N) % 3 == 0,
    "site": np.asarray(["nörd", "süd"] * 6).astype("U9").astype(">U9"),
    "rig": np.asarray([name.encode() for name in ("a", "bé") * 6]),
}


def beside(folder: Path, names: tuple[str, ...], **arrays: np.ndarray) -> Manifest:
    entry = DataEntry(path=saved(folder, **arrays), attributes=names)
    return open_source(entry, folder, DataRole.TEST).manifest


def test_arrays_of_strings_integers_and_booleans_are_attributes(tmp_path: Path) -> None:
    found = beside(tmp_path, tuple(ARRAYS), **ARRAYS)
    assert [(each.name, each.values) for each in found.attributes] == [
        ("rig", ("a", "bé")),
        ("sensor", ("0", "1")),
        ("site", ("nörd", "süd")),
        ("weather", ("dry", "fog", "rain")),
        ("wet", ("False", "True")),
    ]
    assert values(found, "sensor") == ["0", "1"] * 6
    assert values(found, "wet") == ["True", "False", "False"] * 4
    assert values(found, "weather") == ARRAYS["weather"].tolist()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.linspace(0, 1, N), "a is float64 of shape (12,), for 12 items"),
        (np.zeros(N - 1, int), "a is int64 of shape (11,), for 12 items"),
        (np.zeros((N, 1), int), "a is int64 of shape (12, 1), for 12 items"),
        (np.zeros(N, "M8[D]"), "a is datetime64[D] of shape (12,), for 12 items"),
        (np.asarray([""] * N, "U3"), "item 0, array 'a': is empty"),
        (np.arange(N), "array 'a' has another value for every item"),
        (np.asarray([b"a", b"\xff"] * 6), "'a' of item 1 is not text (invalid start byte)"),
        (np.frombuffer((b"a\0\0\0" + b"\0\xd8\0\0") * 6, "<U1"), "'a' of item 1 is not text (code point in surrogate"),
    ],
)
def test_other_arrays_are_refused_by_item(tmp_path: Path, array: np.ndarray, said: str) -> None:
    with pytest.raises(AuditError) as caught:
        beside(tmp_path, ("a",), a=array)
    assert caught.value.what.startswith(f"{tmp_path / 'test.npz'}: {said}")


def test_an_array_that_goes_on_after_its_end_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.npy", header("'|u1'", f"({N},)") + bytes([0, 1] * 6) + b"\0")
    with pytest.raises(AuditError, match="a holds more bytes than its shape says"):
        open_source(DataEntry(path=path, attributes=("a",)), tmp_path, DataRole.TEST)


def test_arrays_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"test\.npz: holds no array 'weather'"):
        beside(tmp_path, ("weather",))
    with pytest.raises(AuditError, match=r"two arrays are called 'wet'"):
        beside(tmp_path, ("wet", "wet"), **ARRAYS)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    entry = DataEntry(path="x.npy", labels="y.npy", attributes=("wet",))
    with pytest.raises(AuditError, match=r"x\.npy: is no \.npz"):
        open_source(entry, tmp_path, DataRole.TEST)


def test_an_npy_has_its_items_in_a_csv_by_number(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "a.csv").write_text(csv(*reversed(ROWS)))
    entry = DataEntry(path="x.npy", labels="y.npy", attributes="a.csv")
    assert values(open_source(entry, tmp_path, DataRole.TEST).manifest, "site") == ["north"] * 5 + ["south"] * 7


def test_items_of_a_folder_are_named_by_their_paths(tmp_path: Path) -> None:
    rows = []
    for item in range(N):
        place = tmp_path / "set" / NAMES[Y[item]] / ("b" if item % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(X[item]).save(place / f"{item:02}.png")
        path = (place / f"{item:02}.png").relative_to(tmp_path / "set").as_posix()
        rows.append((path, f"{path},{WEATHER[item % 3]}"))
    (tmp_path / "a.csv").write_text(csv(*(row for _, row in rows), header="item,weather"))
    entry = DataEntry(path="set", attributes="a.csv")
    found = open_source(entry, tmp_path, DataRole.TEST).manifest
    in_order = sorted((Path(path).parts, row.partition(",")[2]) for path, row in rows)
    assert values(found, "weather") == [weather for _, weather in in_order]


def test_masked_images_are_named_by_their_paths_too(tmp_path: Path) -> None:
    for item in range(3):
        for folder, picture in (("images", X[item]), ("masks", X[item, ..., 0] // 200)):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "set" / folder / f"{item}.png")
    (tmp_path / "a.csv").write_text("item,wet\nimages/1.png,yes\nimages/0.png,no\nimages/2.png,no\n")
    entry = DataEntry(path="set", attributes="a.csv")
    task = TaskRecord(kind="segmentation")
    assert values(open_source(entry, tmp_path, DataRole.TEST, task=task).manifest, "wet") == ["no", "yes", "no"]


def test_items_of_own_code_are_named_by_number(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "import numpy as np\nclass Set:\n    def __len__(self): return 6\n"
        "    def __getitem__(self, i): return np.full((8, 8, 3), i, np.uint8), 0\ndef make(): return Set()\n"
    )
    (tmp_path / "a.csv").write_text(
        csv(*(f"{5 - item},{'wet' if item < 2 else 'dry'}" for item in range(6)), header="item,w")
    )
    entry = DataEntry(factory="made:make", attributes="a.csv", layout="NHWC")
    found = open_source(entry, tmp_path, DataRole.TEST).manifest
    assert values(found, "w") == ["dry"] * 4 + ["wet"] * 2


def of_python(**given: Sequence[object]) -> Manifest:
    return of_object((X, Y), DataRole.TEST, "the test data", described=given).manifest


def test_python_says_what_an_npz_says(tmp_path: Path) -> None:
    stored = beside(tmp_path, tuple(ARRAYS), **ARRAYS)
    given = {**ARRAYS, "rig": ["a", "bé"] * 6, "wet": ARRAYS["wet"].tolist()}
    found, expected = (
        [(each.name, each.values, each.text) for each in it.attributes] for it in (of_python(**given), stored)
    )
    assert found == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": ["x", "y"] * 5}, "attribute 'a': is not a sequence of 12 values"),
        ({"a": "x" * N}, "attribute 'a': is not a sequence of 12 values"),
        ({"a": None}, "attribute 'a': is not a sequence of 12 values"),
        ({"a": set(range(N))}, "attribute 'a': is not a sequence of 12 values"),
        ({"a": [["x"], ["y"]] * 6}, "attribute 'a': item 0 is a list"),
        ({"a": [DataRole.TEST] * N}, "attribute 'a': item 0 is a DataRole"),
        ({"a": [10**5000] * N}, "attribute 'a': item 0: cannot be written"),
        ({1: ["x"] * N}, "no mapping by name"),
        ([("a", ["x"] * N)], "no mapping by name"),
        ({" ": ["x"] * N}, "one attribute has no name"),
        ({"a": ["x"] * N, "a ": ["x"] * N}, "two attributes are called 'a'"),
        ({"a": ["x", 0.5] * 6}, "attribute 'a': item 1 is a float"),
        ({"a": ["x", None] * 6}, "attribute 'a': item 1 is a NoneType"),
        ({"a": [" "] * N}, "item 0, attribute 'a': is empty"),
        ({"a": list(range(N))}, "attribute 'a' has another value for every item"),
        ({"": ["x"] * N}, "one attribute has no name"),
        ({}, "holds 0 attributes"),
    ],
)
def test_what_python_says_wrongly_is_refused(given: Any, said: str) -> None:
    with pytest.raises(AuditError) as caught:
        of_object((X, Y), DataRole.TEST, "the test data", described=given)
    assert said in caught.value.what


def test_copies_of_an_item_count_once_with_the_value_of_both(tmp_path: Path) -> None:
    x, y = np.concatenate([X[:1], X]), np.concatenate([Y[:1], Y])
    rows = ["0,rain", *(f"{item + 1},{WEATHER[item % 3]}" for item in range(N))]
    found = opened(tmp_path, csv(*rows, header="item,weather"), x=x, y=y).manifest
    assert values(found, "weather") == [WEATHER[item % 3] for item in range(N)]
    rows[0] = "0,dry"
    with pytest.raises(AuditError) as caught:
        _ = opened(tmp_path, csv(*rows, header="item,weather"), x=x, y=y).manifest
    said = "items 0 and 1 are the same input, of weather 'dry' and 'rain'"
    assert caught.value.what == f"{tmp_path / 'test.npz'}: {said}"


def test_another_process_hands_them_over_and_contradictions_are_refused(tmp_path: Path) -> None:
    found = opened(tmp_path, csv(*ROWS)).manifest
    written = json.loads(json.dumps(manifest.to_json(found)))
    again = manifest.from_json(written)
    assert [values(again, name) for name in ("site", "weather")] == [
        values(found, name) for name in ("site", "weather")
    ]
    name, names, text = written["attributes"][0]
    for bad in ([name, names[:1], text], [name, names, text[:-8]], [name, names], [name, names, "!"]):
        with pytest.raises(ValueError, match=r"manifest of 12 items|codes beyond 1 values|base64"):
            manifest.from_json({**written, "attributes": [bad]})


def test_a_sample_keeps_the_values_of_its_items(tmp_path: Path) -> None:
    whole = opened(tmp_path, csv(*ROWS))
    sample = Sample(whole, 5).manifest
    of_item = dict(zip(map(bytes, whole.manifest.ids), values(whole.manifest, "weather"), strict=True))
    assert values(sample, "weather") == [of_item[bytes(each)] for each in sample.ids]
    assert sample.attributes[1].values == whole.manifest.attributes[1].values


@given(st.lists(st.integers(0, 999), min_size=1))
def test_codes_come_back_as_they_were_written(codes: list[int]) -> None:
    names = tuple(map(str, range(1000)))
    written = Attribute("a", names, np.asarray(codes, np.uint16))
    assert Attribute.of_text("a", names, written.text).codes.tolist() == codes


ENTRIES = [
    ("attributes = 3", "attributes are the name of a .csv, or a list of names of arrays of the .npz"),
    ("attributes = []", "attributes are the name of a .csv, or a list of names of arrays of the .npz"),
    ("attributes = [1]", "attributes are the name of a .csv, or a list of names of arrays of the .npz"),
    (
        'attributes = "a.csv"\n\n[data.calibration]\npath = "test.npz"\nattributes = "a.csv"',
        "the calibration data have",
    ),
    (
        'attributes = "a.csv"\n\n[data.shifted.night]\npath = "test.npz"\nattributes = ["a"]',
        "the shifted:night data have attributes, and only those of the test set are looked at",
    ),
]


@pytest.mark.parametrize(("lines", "said"), ENTRIES)
def test_an_entry_that_means_nothing_is_refused(world: World, lines: str, said: str) -> None:
    world.audit.write_text(f"{world.audit.read_text()}{lines}\n")
    with pytest.raises(AuditError) as caught:
        request.load(world.audit)
    assert said in caught.value.what


def unsaid(world: World) -> None:
    """A row is missing."""
    (world.folder / "a.csv").write_text("weather\nrain\n")


def torn(world: World) -> None:
    (world.folder / "a.csv").write_bytes(b'weather\n"rain')


def absent(world: World) -> None:
    """No file."""


@pytest.mark.quarantined
@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("spoil", [unsaid, torn, absent])
def test_the_command_ends_with_2_and_leaves_nothing(
    invoke: Command, world: World, spoil: Callable[[World], None]
) -> None:
    spoil(world)
    world.audit.write_text(f'{world.audit.read_text()}attributes = "a.csv"\n')
    result = invoke("run", world.audit)
    assert (result.returncode, world.out.exists()) == (2, False)
    assert "a.csv: " in result.stderr
