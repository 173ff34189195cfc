"""What student code may read while it is graded: the assets without the grader's rows."""

from leaplm import data
from leaplm.assets import fetch
from leaplm.assets.places import STAMP
from leaplm.grading.judge import heldout


def make_store(folder):
    """A store with one small asset of sentences, numbered 0 to 39."""
    language = folder / "sib200" / "hau_Latn"
    language.mkdir(parents=True)
    lines = ["index_id\tcategory\ttext", *(f"{i}\tsports\tjimla {i}" for i in range(40))]
    for part in ("train", "test"):
        (language / f"{part}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "sib200" / STAMP).write_text("digest")


def numbers(path):
    return [int(line.split("\t")[0]) for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def test_heldout_sentences_are_left_out(tmp_path, monkeypatch):
    make_store(tmp_path / "store")
    monkeypatch.setenv("LEAPLM_HOME", str(tmp_path / "store"))
    copy = heldout.assets_without_heldout() / "sib200" / "hau_Latn"
    assert numbers(copy / "test.tsv") == [i for i in range(40) if not data.is_heldout_sentence(i)]
    assert 5 < len(numbers(copy / "test.tsv")) < 35
    assert numbers(copy / "train.tsv") == list(range(40))


def test_what_student_code_sees_does_not_depend_on_the_secret(tmp_path, monkeypatch):
    """What is missing in it would tell which rows an exam is marked on."""
    make_store(tmp_path / "store")
    monkeypatch.setenv("LEAPLM_HOME", str(tmp_path / "store"))
    seen, given = [], []
    for secret in ("", "mangoes of Kano, 2027", "rain in Zaria"):
        monkeypatch.setenv("LEAPLM_COURSE_SECRET", secret)
        seen.append({str(path): path.read_bytes() for path in heldout.assets_without_heldout().rglob("*") if path.is_file()})
        given.append(numbers(heldout.student_assets() / "sib200" / "hau_Latn" / "test.tsv"))
        assert given[-1] == [i for i in range(40) if not data.is_heldout_sentence(i)]
    assert seen[0] == seen[1] == seen[2] and given[0] != given[1] != given[2] != given[0]


def test_a_copy_made_by_older_rules_is_made_again(tmp_path, monkeypatch):
    make_store(tmp_path / "store")
    monkeypatch.setenv("LEAPLM_HOME", str(tmp_path / "store"))
    path = heldout.assets_without_heldout() / "sib200" / "hau_Latn" / "test.tsv"
    kept = numbers(path)
    path.write_text((tmp_path / "store/sib200/hau_Latn/test.tsv").read_text())
    assert numbers(heldout.assets_without_heldout() / "sib200" / "hau_Latn" / "test.tsv") != kept  # up to date: as it is
    monkeypatch.setattr(heldout, "EDITION", "next")
    assert numbers(heldout.assets_without_heldout() / "sib200" / "hau_Latn" / "test.tsv") == kept


def test_a_secret_draws_other_rows_and_the_students_store_has_none_of_them(assets_ready, tmp_path, monkeypatch):
    public = set(data.heldout_rows("eng", size=10**6)["text"])
    seen = {part: set(rows["text"]) for part, rows in data.load_sentiment("eng").items()}
    monkeypatch.setenv("LEAPLM_COURSE_SECRET", "mangoes of Kano, 2027")
    private = set(data.heldout_rows("eng", size=10**6)["text"])
    assert 0.8 < len(private) / len(public) < 1.2 and len(private & public) < 0.3 * len(private)
    heldout.write_student_store(tmp_path / "store")
    monkeypatch.delenv("LEAPLM_COURSE_SECRET")
    monkeypatch.setenv("LEAPLM_HOME", str(tmp_path / "store"))
    theirs = {part: set(rows["text"]) for part, rows in data.load_sentiment("eng").items()}
    assert not private & set().union(*theirs.values()) and private & seen["train"]
    assert all(theirs[part] < seen[part] for part in ("train", "validation", "test"))
    fetch(["vader"])  # there already, as far as a student can tell
