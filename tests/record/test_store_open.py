"""What does not open says so in one sentence, with the exit code for it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from store_trees import commit

from nbbench.errors import NbbenchError, StoreError
from nbbench.record.schema import parse_url
from nbbench.record.store import Store


def refused(url, **options):
    with pytest.raises(StoreError) as info:
        Store.open(url, **options)
    assert "\n" not in str(info.value)
    assert info.value.exit_code == 2
    return str(info.value)


def test_opening_twice_is_the_same_database(url):
    with Store.open(url) as store:
        store.place_commits([commit(1)])
    with Store.open(url, create=False) as store:
        assert store.commits() == [commit(1)]


def test_a_missing_file(tmp_path):
    path = tmp_path / "deep" / "nbbench.sqlite"
    assert refused(f"sqlite:///{path}", create=False) == f"no database at {path}"
    assert refused(f"sqlite:///{path}") == f"there is no folder {path.parent}"
    assert not path.parent.exists()
    path.parent.mkdir()
    Store.open(f"sqlite:///{path}").close()
    assert path.exists()


@pytest.mark.parametrize(
    "data", [b"this is text, and rather more than a hundred bytes " * 9, bytes(range(255, 0, -1)) * 20],
    ids=["text", "bytes"],
)  # fmt: skip
def test_not_a_database(tmp_path, data):
    path = tmp_path / "file.sqlite"
    path.write_bytes(data)
    assert refused(f"sqlite:///{path}") == f"{path} is not a database, or is damaged"
    assert path.read_bytes() == data


def test_a_database_cut_short(tmp_path):
    path = tmp_path / "nbbench.sqlite"
    with Store.open(f"sqlite:///{path}") as store:
        store.place_commits([commit(n) for n in range(1, 500)])
    path.write_bytes(path.read_bytes()[:20_000])
    damaged = pytest.raises(StoreError, match="is not a database, or is damaged")
    with damaged, Store.open(f"sqlite:///{path}") as store:
        store.commits()


def test_a_folder(tmp_path):
    assert refused(f"sqlite:///{tmp_path}") == f"{tmp_path} is a folder, not a database"


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert "there is no folder" in refused(f"sqlite:///{tmp_path}/file/nbbench.sqlite")


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/name", "postgresql+nodriver://host/name"])
def test_urls(url):
    assert refused(url)


def test_no_error_quotes_a_password():
    """J5."""
    for url in (
        "postgresql://u:s3cret@h:port/n",
        "postgresql://u:s3c/ret@h:1:2/n",
        "mysql://u:s3cret@h/n",
        "postgresql://u:p@s3cret@h/n",
    ):
        assert "s3c" not in refused(url)
    with pytest.raises(StoreError) as info:
        Store.open("postgresql://u@127.0.0.1:1/n?password=s3cret&connect_timeout=1")
    assert "s3cret" not in str(info.value)


def test_plain_postgresql_means_psycopg():
    for name in ("postgresql", "postgres", "postgresql+psycopg"):
        assert parse_url(f"{name}://u:p@h:5/n").shown == "postgresql://u@h:5/n"


def test_an_unreachable_server_does_not_show_the_password():
    pytest.importorskip("psycopg")
    message = refused("postgresql://user:secret@127.0.0.1:1/name")
    assert "secret" not in message
    assert "127.0.0.1" in message


def test_in_memory():
    with Store.open("sqlite://") as store:
        store.place_commits([commit(1)])
        assert store.commits() == [commit(1)]


def test_busy(url):
    with Store.open(url) as first, Store.open(url, timeout_s=0.2) as second:
        with first.writing(), pytest.raises(StoreError, match="is in use by another program"):
            second.place_commits([commit(1)])
        with first.writing():
            assert second.commits() == []  # readers do not wait
        second.place_commits([commit(1)])
        assert first.commits() == [commit(1)]


def open_at_once(url, barrier, queue):
    barrier.wait()
    try:
        with Store.open(url) as store:
            queue.put(store.commits())
    except BaseException as error:
        queue.put(repr(error))


def test_a_new_file_that_several_create_at_once(tmp_path):
    Store.open("sqlite://").close()  # imports what the children need
    context = multiprocessing.get_context("fork")
    for number in range(15):  # without waiting for the journal's switch, a twelfth of them failed
        url, barrier, queue = f"sqlite:///{tmp_path}/{number}", context.Barrier(4), context.SimpleQueue()
        children = [context.Process(target=open_at_once, args=(url, barrier, queue)) for _ in range(4)]
        for child in children:
            child.start()
        assert [queue.get() for _ in children] == [[]] * 4
        for child in children:
            child.join()


def test_settings_of_sqlite(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/x.sqlite") as store, store.reading() as connection:
        found = [connection.one(f"PRAGMA {name}") for name in ("journal_mode", "foreign_keys")]
    assert found == ["wal", 1]


def as_nobody(action, folder):
    """Run `action(folder)` in a child that root's privileges do not help."""
    queue = multiprocessing.get_context("fork").SimpleQueue()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            queue.put(action(folder))
        except NbbenchError as error:
            queue.put(("error", str(error)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return queue.get()


def test_a_read_only_folder():
    # Not pytest's folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="nbbench-ro-"))
    path = folder / "nbbench.sqlite"
    try:
        Store.open(f"sqlite:///{folder}/other.sqlite").close()  # imports what the child needs
        folder.chmod(0o555)
        found = as_nobody(lambda f: Store.open(f"sqlite:///{f}/nbbench.sqlite"), folder)
        assert found == ("error", f"{path} cannot be opened for writing")
        found = as_nobody(lambda f: Store.open(f"sqlite:///{f}/deep/nbbench.sqlite"), folder)
        assert found == ("error", f"there is no folder {folder}/deep")

        def read(folder):  # J13
            with Store.open(f"sqlite:///{folder}/other.sqlite", create=False) as store:
                return store.commits()

        def write(folder):
            with Store.open(f"sqlite:///{folder}/other.sqlite") as store:
                store.place_commits([commit(1)])

        assert as_nobody(read, folder) == []
        assert as_nobody(write, folder) == ("error", f"{folder}/other.sqlite cannot be opened for writing")
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_the_package_is_light():
    code = """
import sys, nbbench.record.side_files
assert "sqlite3" not in sys.modules
import nbbench.record.store
assert not {"psycopg", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
