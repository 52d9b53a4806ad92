"""The settings and where they come from."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.settings import Settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without settings of ours, in a folder of its own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"OFFSETNET_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_keys_are_written_with_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OFFSETNET_ADMIN_KEY", "one, two,")

    assert Settings().all_admin_keys() == (b"one", b"two")


def test_keys_may_stand_in_a_file(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("one\n\n  two\n")
    environment.setenv("OFFSETNET_PREDICT_KEY", "zero")
    environment.setenv("OFFSETNET_PREDICT_KEY_FILE", str(tmp_path / "keys"))

    assert Settings().all_predict_keys() == (b"zero", b"one", b"two")


def test_hosts_are_written_with_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OFFSETNET_ALLOWED_HOSTS", "a.example,b.example")

    assert Settings().allowed_hosts == ("a.example", "b.example")


@pytest.mark.usefixtures("environment")
def test_settings_may_be_given_in_code() -> None:
    assert Settings(allowed_hosts=("a.example",)).allowed_hosts == ("a.example",)


@pytest.mark.usefixtures("environment")
def test_a_lease_outlasts_three_beats() -> None:
    with pytest.raises(ValidationError, match="three times beat_seconds"):
        Settings(beat_seconds=2, lease_seconds=5)


def test_f6_a_key_is_not_in_the_error_of_another_setting(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("OFFSETNET_ADMIN_KEY", "canary")
    environment.setenv("OFFSETNET_QUEUE_LIMIT", "canary-too")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert "canary" not in str(caught.value)


@pytest.mark.usefixtures("environment")
def test_f6_a_child_process_gets_the_settings_without_the_keys() -> None:
    settings = Settings(admin_key=(SecretStr("secret"),), poll_seconds=0.25)

    environment = settings.runner_environment()

    assert environment["OFFSETNET_POLL_SECONDS"] == "0.25"
    assert not any("KEY" in name for name in environment)


@pytest.mark.usefixtures("environment")
def test_a_child_process_gets_the_database_s_address_whole() -> None:
    url = "postgresql://user:secret@localhost/name"
    settings = Settings(database_url=SecretStr(url))

    assert settings.runner_environment()["OFFSETNET_DATABASE_URL"] == url


def test_the_database_s_address_may_stand_in_a_file(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("postgresql://user:secret@localhost/name\n")
    environment.setenv("OFFSETNET_DATABASE_URL_FILE", str(tmp_path / "url"))

    assert Settings().database() == "postgresql://user:secret@localhost/name"


@pytest.mark.usefixtures("environment")
def test_a_missing_file_of_a_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="OFFSETNET_DATABASE_URL_FILE"):
        Settings(database_url_file=tmp_path / "nothing")


def test_an_empty_file_of_a_database_url_is_no_wish_for_sqlite(tmp_path: Path) -> None:
    empty = tmp_path / "url"
    empty.write_text("\n")

    with pytest.raises(ValidationError, match="OFFSETNET_DATABASE_URL_FILE: is empty"):
        Settings(database_url_file=empty)
    url = SecretStr("postgresql://localhost/name")
    assert Settings(database_url_file=empty, database_url=url).database()


def test_f6_the_database_s_address_is_not_shown(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("OFFSETNET_DATABASE_URL", "postgresql://user:secret@localhost/")

    assert "secret" not in repr(Settings())


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described(name: str) -> None:
    assert Settings.model_fields[name].description
