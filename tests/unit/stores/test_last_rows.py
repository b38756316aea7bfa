"""The copy of the last good rows: of this project, of this day, whole, or none."""

import json
import stat

import pytest

from core.stores.last_rows import MAX_AGE_NS, LastRows, LastRowsFile, project_digest
from core.stores.rows import LEVELS, TRADES
from core.stores.supabase_access import SupabaseAccess, TableNames

NOW = 1_795_158_000_000_000_000
ROWS = {
    TRADES: [{"new_id": 2**62, "price": "120.05", "symbol": "नि\u2028fty\n"}, {"new_id": 8}],
    LEVELS: [{"id": 1, "x": None}],
}
ACCESS = SupabaseAccess("https://a.supabase.co", "the-secret-key", "the-secret-token")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "last_rows"


def saved(path, access=ACCESS):
    file = LastRowsFile(path, project_digest(access))
    file.save(LastRows(NOW, ROWS))
    return file


def test_what_was_saved_is_read_again(path):
    assert saved(path).load(NOW + 1) == LastRows(NOW, ROWS)


def test_only_this_user_may_read_it_and_it_holds_no_key(path):
    saved(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in path.read_text()
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_an_interrupted_write_leaves_the_older_copy(path):
    file = saved(path)
    with pytest.raises(TypeError):
        file.save(LastRows(NOW + 5, {TRADES: [{"new_id": object()}]}))
    assert file.load(NOW + 6) == LastRows(NOW, ROWS)


@pytest.mark.parametrize(("later_ns", "is_good"), [(0, True), (MAX_AGE_NS, True), (MAX_AGE_NS + 1, False), (-1, False)])
def test_it_is_good_for_a_day(path, later_ns, is_good):
    assert (saved(path).load(NOW + later_ns) is not None) == is_good


@pytest.mark.parametrize(
    "other",
    [
        SupabaseAccess("https://b.supabase.co", "k"),
        SupabaseAccess("https://a.supabase.co", "k", tables=TableNames(schema="private")),
        SupabaseAccess("https://a.supabase.co", "k", tables=TableNames(trades="positions")),
    ],
)
def test_another_project_or_other_tables_have_no_copy(path, other):
    saved(path)
    assert LastRowsFile(path, project_digest(other)).load(NOW) is None


def test_another_key_of_the_same_project_has(path):
    saved(path)
    same = SupabaseAccess("https://a.supabase.co/", "another")
    assert LastRowsFile(path, project_digest(same)).load(NOW) == LastRows(NOW, ROWS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "\n".join(text.splitlines()[:-1]),
        lambda text: text.replace("[", "{"),
        lambda text: "[1]\n",
        lambda text: "{}\n",
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace("120.05", "120.05\udcff"),
        lambda text: (
            json.dumps({"version": 1, "project": project_digest(ACCESS), "read_at_ns": NOW, "rows": 1}) + "\n7\n"
        ),
    ],
)
def test_a_damaged_copy_is_none(path, damage):
    file = saved(path)
    path.write_bytes(damage(path.read_text()).encode("utf-8", "surrogateescape"))
    assert file.load(NOW) is None


def test_where_there_is_no_file_there_is_no_copy(path):
    assert LastRowsFile(path, "x").load(NOW) is None


def test_a_folder_that_cannot_be_written_to_is_an_os_error(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(OSError, match="state"):
        LastRowsFile(tmp_path / "state" / "last", "x").save(LastRows(NOW, {}))
