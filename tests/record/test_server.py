"""A real PostgreSQL server that ends connections, refuses, restarts, and is gone; roles and TLS."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import uuid
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest
from cli_project import ROOT, Project, write_results
from pg_server import NoServer, control, database, folder_of, own_server, schema
from store_trees import commit, content, write_tree

from nbbench.config import load_settings
from nbbench.errors import StoreError
from nbbench.record import engine, refresh
from nbbench.record.projects import own_project
from nbbench.record.refresh import import_results
from nbbench.record.store import Store

pytestmark = pytest.mark.postgresql
DOCS = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")


@pytest.fixture
def psycopg():
    return pytest.importorskip("psycopg")


@pytest.fixture
def ask(psycopg):
    """A statement at a server, outside of nbbench."""

    def asked(url, statement, values=()):
        with closing(psycopg.connect(url, autocommit=True)) as handle:
            cursor = handle.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else None

    return asked


@pytest.fixture
def url(pg_url):
    with schema(pg_url) as url:
        yield url


@pytest.fixture(scope="module")
def own():
    """A server with TLS that may be stopped, and its port."""
    with closing(socket.create_server(("localhost", 0))) as free:
        port = free.getsockname()[1]
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    try:
        with own_server(port, tls=True) as url:
            yield url, port
    except NoServer as reason:
        pytest.skip(f"no PostgreSQL: {reason}")


def end_connection(ask, url, handle):
    """End the server's side of a connection, and wait until it is gone."""
    pid = handle.info.backend_pid
    assert ask(url, "SELECT pg_terminate_backend(%s, 60000)", [pid]) == [(True,)]


def refusal(action):
    with pytest.raises(StoreError) as info:
        action()
    assert info.value.exit_code == 2 and info.value.hint
    assert "\n" not in f"{info.value}{info.value.hint}"
    return f"{info.value} ({info.value.hint})"


@pytest.fixture
def trees(tmp_path):
    """A results tree, and what an undisturbed import of it reports and leaves."""
    tree = write_tree(tmp_path / "results", 12)
    with Store.open(f"sqlite:///{tmp_path / 'whole.sqlite'}") as store:
        return tree, import_results(store, tree), content(store)


@pytest.mark.parametrize("moment", ["before the commit", "after the commit", "in a file"])
def test_an_import_goes_on_when_its_connection_is_ended(url, ask, trees, monkeypatch, capsys, moment):
    tree, whole, held = trees
    monkeypatch.setattr(refresh, "_BATCH_FILES", 5)
    commits, plain = [], engine.commit

    def end(handle, begin):
        commits.append(begin)
        if len(commits) == 4 and moment != "after the commit":
            end_connection(ask, url, handle)
        plain(handle, begin)
        if len(commits) == 4:  # the server has done it, and the answer is lost
            end_connection(ask, url, handle)
            handle.execute("SELECT 1")

    insert, rows = engine.Connection.insert_cells, []

    def end_in_file(connection, *args):
        rows.append(args)
        if len(rows) == 8:
            end_connection(ask, url, connection._handle)
        insert(connection, *args)

    with Store.open(url) as store:
        if moment == "in a file":
            monkeypatch.setattr(engine.Connection, "insert_cells", end_in_file)
        else:
            monkeypatch.setattr(engine, "commit", end)
        report = import_results(store, tree)
        assert report == whole
        assert content(store) == held
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nbbench: {store.name} broke off (") and line.endswith("): trying again")


def test_a_process_that_waited_goes_on_after_its_connection_was_ended(url, ask, capsys):
    with Store.open(url) as store:
        store.place_commits([commit(1)])
        with store.reading() as first, store.reading() as second:
            handles = [first._handle, second._handle]
        for handle in handles:
            end_connection(ask, url, handle)
        assert store.commits() == [commit(1)]
        end_connection(ask, url, store._idle[0])
        store.place_commits([commit(1), commit(2)])
        assert len(store.commits()) == 2
    assert capsys.readouterr().err.count("trying again\n") == 2  # a line each time, for any number


def test_one_that_is_always_broken_off_gives_up(url, ask, monkeypatch):
    tries = []

    def end(handle, begin):
        tries.append(begin)
        end_connection(ask, url, handle)
        handle.execute("COMMIT")

    with Store.open(url) as store:
        monkeypatch.setattr(engine, "commit", end)
        assert "broke off" in refusal(lambda: store.place_commits([commit(1)]))
    assert len(tries) == engine._TRIES


def test_a_restart_is_waited_for_and_a_server_that_is_gone_is_not(own, trees, monkeypatch, capsys):
    server, _ = own
    tree, whole, held = trees
    commits, plain = [], engine.commit

    def restart(handle, begin):
        commits.append(begin)
        if len(commits) == 3:
            control(server, "restart", "-m", "fast")
        plain(handle, begin)

    with database(server) as plain_url:
        url = plain_url.replace("postgres@", "postgres:s3cret@")
        with Store.open(url) as store:
            monkeypatch.setattr(engine, "commit", restart)
            assert import_results(store, tree) == whole
            assert content(store) == held
            assert capsys.readouterr().err.count("\n") == 1
            monkeypatch.setattr(engine, "_AWAY_S", 0.0)
            control(server, "stop", "-m", "fast")
            try:
                said = refusal(store.commits) + refusal(lambda: Store.open(url))
            finally:
                control(server, "restart")  # keeps its options
            assert said.count("cannot be reached") == 2 and "see that it runs" in said
            assert "s3cret" not in said + capsys.readouterr().err
            assert len(store.commits()) == 12  # of the same process


def test_tls_settings_reach_the_driver(own, psycopg, ask, tmp_path, monkeypatch):
    server, port = own
    place, right = f"postgresql://postgres@localhost:{port}/postgres", folder_of(server) / "server.crt"
    root = tmp_path / "root.crt"
    root.write_bytes(right.read_bytes())
    wrong = tmp_path / "wrong.crt"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout /dev/null -out {wrong}"
    subprocess.run(made.split(), check=True, capture_output=True)

    def encrypted(url):
        with Store.open(url) as store, store.reading() as connection:
            return connection.one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")

    assert encrypted(f"{place}?sslmode=verify-full&sslrootcert={root}") is True
    assert encrypted(f"{place}?sslmode=disable") is False
    said = refusal(lambda: Store.open(f"{place}?sslmode=verify-full&sslrootcert={wrong}"))
    assert "certificate verify failed" in said and "TLS" in said
    said = refusal(lambda: Store.open(f"{place.replace('localhost', '127.0.0.1')}?sslmode=verify-full"
                                      f"&sslrootcert={root}"))  # fmt: skip
    assert "does not match" in said or "Connection refused" in said
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(wrong))
    assert "certificate verify failed" in refusal(lambda: Store.open(place))
    monkeypatch.setenv("PGSSLROOTCERT", str(root))
    assert encrypted(place) is True
    assert not Store.open(f"{place}?sslmode=disable").close()  # the URL goes before the environment


@pytest.fixture
def roles(pg_url, ask):
    """A database that was set up as docs/database.md says, and the URLs of its three users."""
    (block,) = re.findall(r"```postgresql\n(.*?)```", DOCS, re.DOTALL)
    tag = uuid.uuid4().hex[:8]
    names = {f"nbbench_{role}": f"t{tag}_{role}" for role in ("owner", "writer", "reader")}
    for old, new in names.items():
        block = block.replace(old, new)
    before, _, inside = block.replace("DATABASE nbbench", f"DATABASE t{tag}").partition("\\connect nbbench\n")
    place, _, options = pg_url.partition("?")
    server = place.rpartition("/")[0]

    def url(user):
        parts = urlsplit(f"{server}/t{tag}?{options}")
        return parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}").geturl()

    for where, statements in ((pg_url, before), (f"{server}/t{tag}?{options}", inside)):
        for statement in statements.split(";\n"):
            if statement.strip():
                ask(where, statement)
    try:
        yield [url(name) for name in names.values()]
    finally:
        ask(pg_url, f"DROP DATABASE t{tag} WITH (FORCE)")
        for name in names.values():
            ask(pg_url, f"DROP ROLE {name}")


@pytest.fixture
def project(tmp_path):
    shutil.copy(ROOT / "asv.conf.json", tmp_path)
    level = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001]
    write_results(tmp_path, {"suite.time_slow": level + [1.3 * v for v in level]})
    return Project(tmp_path)


def test_roles(roles, project, ask):
    owner, writer, reader = roles
    early = project.run("regressions", "--db", reader)
    assert early.exit_code == 2, early.stderr
    assert project.run("db", "info", "--db", owner).exit_code == 0
    done = project.run("import", "--db", writer)
    assert done.exit_code == 0, done.stderr
    before = ask(owner, "SELECT count(*), max(id) FROM files")
    as_writer = project.run("regressions", "--all", "--db", writer)
    for command in (
        ["regressions", "--all"],
        ["plan", "PERF-PYTORCH-004"],
        ["publish", "--page-only"],
        ["explain", "00000007-slower"],
    ):
        done = project.run(*command, "--db", reader)
        # No criterion of the plan was measured, and of the two commits no work is on record.
        expected = {"plan": 4, "explain": 4}.get(command[0], 0)
        assert done.exit_code == expected, (command, done.stderr)
        assert "internal error" not in done.stderr and done.stderr.count("can only be read") == 1
        assert command[0] != "regressions" or done.stdout == as_writer.stdout
    assert "00000007-slower" in as_writer.stdout
    for command in (["import"], ["flag", "00000007-slower", "confirmed", "-m", "x"], ["db", "rebuild"]):
        refused = project.run(*command, "--db", reader)
        assert refused.exit_code == 2
        assert "can only read" in refused.stderr and "docs/database.md (Roles)" in refused.stderr
    assert not (project.root / "results" / "decisions").exists()
    assert ask(owner, "SELECT count(*), max(id) FROM files") == before

    ask(owner, "UPDATE meta SET value = 'x' WHERE key = 'tables'")
    for url, command in ((writer, "import"), (reader, "regressions"), (writer, "regressions")):
        refused = project.run(command, "--db", url)
        assert refused.exit_code == 2
        assert "made by another version of nbbench" in refused.stderr, refused.stderr
        assert "the owner makes its tables" in refused.stderr
    assert ask(owner, "SELECT count(*), max(id) FROM files") == before
    assert project.run("db", "rebuild", "--db", owner).exit_code == 0
    assert project.run("import", "--db", writer).exit_code == 0  # the rights are on the new tables, too


def test_a_reader_finds_events_anew_for_itself(roles, project, ask):
    owner, writer, reader = roles
    assert project.run("import", "--db", owner).exit_code == 0
    fresh = project.run("regressions", "--db", reader)
    assert fresh.exit_code == 0, fresh.stderr
    assert "00000007-slower" in fresh.stdout
    assert ask(owner, "SELECT count(*) FROM events") == [(0,)]
    assert fresh.stdout == project.run("regressions", "--db", writer).stdout
    assert ask(owner, "SELECT count(*) FROM events") == [(1,)]


def test_a_stranger_is_told_so(roles, ask, project):
    owner, _, reader = roles
    assert project.run("import", "--db", owner).exit_code == 0
    ask(owner, f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {urlsplit(reader).username}")
    refused = project.run("regressions", "--db", reader)
    assert refused.exit_code == 2
    assert "this user has no right to do that" in refused.stderr


def test_a_database_that_can_only_be_read(url, project):
    """A replica says the same of itself."""
    assert project.run("import", "--db", url).exit_code == 0
    only = url.replace("options=", "options=-cdefault_transaction_read_only%3Don%20")
    done = project.run("regressions", "--db", only)
    assert done.exit_code == 0 and "00000007-slower" in done.stdout
    assert "can only be read: what is new here is left out" in done.stderr
    assert "can only read" in project.run("import", "--db", only).stderr


def test_limits_of_the_server_are_said_in_a_sentence(url, ask, pg_url):
    joint = url.replace("options=", "options=-cstatement_timeout%3D50%20")
    with Store.open(url) as store, Store.open(joint) as hurried, store.writing():
        assert "took too long" in refusal(lambda: hurried.place_commits([commit(1)]))
    name = f"t{uuid.uuid4().hex[:8]}"
    ask(pg_url, f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 0")
    try:
        said = refusal(lambda: Store.open(url.replace("//postgres@", f"//{name}@")))
        assert "too many connections" in said
    finally:
        ask(pg_url, f"DROP ROLE {name}")


def test_names_with_odd_characters(pg_url, ask):
    name = "größe & 50% ?#/'x"
    quoted = '"' + name + '"'
    ask(pg_url, f"CREATE DATABASE {quoted}")
    try:
        place, _, options = pg_url.partition("?")
        url = f"{place.rpartition('/')[0]}/{quote(name, safe='')}?{options}"
        with Store.open(url) as store:
            store.place_commits([commit(1)])
            assert ask(url, "SELECT current_database()") == [(name,)]
            assert len(store.commits()) == 1
    finally:
        ask(pg_url, f"DROP DATABASE {quoted} WITH (FORCE)")


_IMPORT = """
import sys
from nbbench.cli import app, import_
from nbbench.record import refresh
from nbbench.record.store import Store
print("ready", flush=True)
sys.stdin.readline()
sys.exit(app.run(sys.argv[1:]))
"""


def _importer(command):
    """A process that is about to import: it waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _IMPORT, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_machines_at_once(pg_url, tmp_path):
    """Their imports into one database end as one after the other would."""
    roots = []
    for number, machine in enumerate(("a", "b")):
        root = tmp_path / machine
        root.mkdir()
        shutil.copy(ROOT / "asv.conf.json", root)
        write_results(root, {"suite.time_x": [1.0 + (n + number) % 3 for n in range(90 + 60 * number)]})
        (root / "results" / "m").rename(root / "results" / machine)
        told = root / "results" / machine / "machine.json"
        told.write_text(told.read_text().replace('"m"', f'"{machine}"'))
        roots.append(root)
    ends = []
    for together in (False, True):
        with schema(pg_url) as url:
            command = ["import", "--json", "--db", url]
            if together:
                ready = [_importer([*command, "--root", str(root)]) for root in roots]
                for process in ready:
                    process.stdin.write("\n")
                    process.stdin.flush()
                told = [process.communicate()[0] for process in ready]
            else:
                told = [Project(root).run(*command).stdout for root in roots]
            assert [json.loads(one)["files_new"] for one in told] == [90, 150]
            with Store.open(url, project=own_project(load_settings(roots[0]))) as store:
                ends.append(content(store))
    assert ends[0] == ends[1]
