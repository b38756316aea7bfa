"""Options come from the environment, then .env, then defaults; a wrong one is named with its remedy."""

import re
from datetime import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.model.errors import ConfigurationError
from core.settings import ROOT, MarketHours, Settings, load_settings, validate_account, validate_live
from core.settings_sources import ALIASES, FROM_FILE, PREFIXES
from strategies.categories import Category
from strategies.profiles import CATEGORY_PROFILES

EXAMPLE = ROOT / ".env.example"
ACCOUNT = {"DHAN_CLIENT_ID": "1100003626", "DHAN_ACCESS_TOKEN": "canary-token"}
TOTP_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238's own, of 20 bytes
NOT_PLAIN = {"exit_profiles", "exit_overrides"}


def refused(environ, env_file=None):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ, env_file)
    return str(caught.value)


def test_defaults_are_those_of_the_contract():
    settings = load_settings({}, None)
    assert settings.dhan_api_url == "https://api.dhan.co/v2"
    assert settings.trades_db == ROOT / "logs" / "trades.db"
    assert settings.state_dir == settings.log_dir == ROOT / "logs"
    assert (settings.log_level, settings.market_hours) == ("INFO", MarketHours.CALENDAR)
    assert (settings.mark_stale_s, settings.quiet_verify_s, settings.stop_confirm_max_ms) == (5, 30, 1000)
    assert (settings.hard_stop_multiple, settings.leg_settle_ms, settings.absence_quarantine_s) == (1.5, 100, 8)
    assert (settings.orders_per_second, settings.position_max_age_ms) == (8, 500)
    assert (settings.attempts_per_leg_per_minute, settings.attempts_per_leg_per_day) == (12, 60)
    assert (settings.order_connect_timeout_s, settings.order_timeout_s) == (1, 2.5)
    assert settings.intraday_last_send == time(15, 18)
    assert (settings.redis_warm_s, settings.instruments_max_age_days, settings.market_calendar) == (15, 35, None)
    assert settings.dhan_auth_url == "https://auth.dhan.co"


def test_the_process_environment_is_not_read_behind_the_callers_back(monkeypatch):
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    assert load_settings({}, None).log_level == "INFO"


def test_the_environment_wins_over_the_file_and_names_ignore_case(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text("log_level=debug\nMARK_STALE_S='7'\nREDIS_HOST=\n# LOG_FORMAT=json\nexport LOG_FORMAT=json\n")
    settings = load_settings({"Log_Level": "warning"}, env_file)
    assert (settings.log_level, settings.mark_stale_s, settings.log_format) == ("WARNING", 7, "json")
    assert settings.redis_host is None


def test_a_missing_env_file_is_no_error(tmp_path):
    assert load_settings({}, tmp_path / "absent") == load_settings({}, None)


@pytest.mark.parametrize(("own", "alias"), [(own, alias) for own, others in ALIASES.items() for alias in others])
def test_every_alias_is_read(own, alias):
    values = {"SUPABASE_URL": "https://x.example", "SUPABASE_KEY": "key", "LADDER_RUNGS_BPS": "1,2"}
    expected = load_settings(values, None)
    values[alias] = values.pop(own)
    assert load_settings(values, None) == expected


def test_the_own_name_wins_over_its_aliases():
    keys = {
        "SUPABASE_SERVICE_ROLE_KEY": "c",
        "SUPABASE_ANON_KEY": "b",
        "SUPABASE_KEY": "a",
        "SUPABASE_URL": "https://x",
    }
    assert load_settings(keys, None).supabase_key.get_secret_value() == "a"
    del keys["SUPABASE_KEY"]
    assert load_settings(keys, None).supabase_key.get_secret_value() == "b"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("DHAN_CLIENTID", "DHAN_CLIENT_ID"),
        ("LIVE_TRADING_ACOUNT", "LIVE_TRADING_ACCOUNT"),
        ("mark_stale_ms", "MARK_STALE_S"),
        ("MARKET_HOUR", "MARKET_HOURS"),
        ("LOG_LEVL", "LOG_LEVEL"),
        ("TRADES_DBB", "TRADES_DB"),
        ("STATE_DIRR", "STATE_DIR"),
        ("SUPABASE_KEYS", "SUPABASE_KEY"),
        ("REDIS_HOSTNAME", "REDIS_HOST"),
        ("MARKET_CALENDER", "MARKET_CALENDAR"),
        ("INSTRUMENTS_MAX_AGE", "INSTRUMENTS_MAX_AGE_DAYS"),
        ("HARD_STOP_MULTIPEL", "HARD_STOP_MULTIPLE"),
    ],
)
def test_an_unknown_name_of_ours_is_refused_with_the_nearest_valid_one(name, near, tmp_path):
    message = refused({name: "1"})
    assert f"{name} in the environment" in message
    assert f"Did you mean {near}?" in message
    env_file = tmp_path / ".env"
    env_file.write_text(f"{name}=1\n")
    assert str(env_file) in refused({}, env_file)


@pytest.mark.parametrize("name", ["PATH", "STATE_DIRECTORY", "REDIS_PORT_6379_TCP", "LOGNAME", "ORDER", "WORKING_DIR"])
def test_names_of_other_programs_are_ignored(name):
    assert load_settings({name: "x"}, None) == load_settings({}, None)


def test_every_option_begins_with_a_known_prefix():
    assert [name for name in Settings.model_fields if not name.upper().startswith(PREFIXES)] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MARK_STALE_S", "abc"),
        ("MARK_STALE_S", "0"),
        ("MARK_STALE_S", "nan"),
        ("MARK_STALE_S", "inf"),
        ("STOP_CONFIRM_MAX_MS", "1.5"),
        ("HARD_STOP_MULTIPLE", "0.9"),
        ("ABSENCE_QUARANTINE_S", "4.9"),
        ("ORDERS_PER_SECOND", "11"),
        ("LADDER_RUNGS_BPS", "0,50,50"),
        ("LADDER_RUNGS_BPS", "0,,50"),
        ("INTRADAY_LAST_SEND", "15:60"),
        ("INTRADAY_LAST_SEND", "55080"),
        ("SQUARE_OFF_INTRADAY", "3pm"),
        ("MARKET_HOURS", "sometimes"),
        ("LOG_LEVEL", "LOUD"),
        ("REDIS_PORT", "0"),
        ("REDIS_WARM_S", "-1"),
        ("REDIS_WARM_S", "301"),
        ("INSTRUMENTS_MAX_AGE_DAYS", "0"),
        ("DHAN_API_URL", "api.dhan.co"),
        ("DHAN_FEED_URL", "https://api-feed.dhan.co"),
        ("DHAN_CLIENT_ID", "11 00"),
        ("EXIT_PROFILE_42", "../evil"),
        ("DEFAULT_PROFILE", "No"),
    ],
)
def test_a_bad_value_is_named_and_shown(name, value):
    message = refused({name: value})
    assert message.startswith(f"{name}: ")
    assert repr(value) in message
    assert f"Set {name} to " in message


@pytest.mark.parametrize("name", ["DHAN_ACCESS_TOKEN", "DHAN_PIN", "DHAN_TOTP_SECRET", "SUPABASE_KEY", "REDIS_URL"])
def test_a_bad_secret_is_named_and_not_shown(name):
    message = refused({name: "canary secret"})
    assert name in message
    assert "canary" not in message


@pytest.mark.parametrize("pin", ["123", "123456789", "12345a", "12 456", "१२३४५६"])
def test_a_pin_is_four_to_eight_digits(pin):
    message = refused({"DHAN_PIN": pin, "DHAN_TOTP_SECRET": TOTP_SECRET})
    assert message.startswith("DHAN_PIN: expected only digits")
    assert pin not in message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("GEZDGNBVGY3TQOJ1" * 2, "base32"),
        ("GEZDGNBVGY3TQOJQG", "base32"),
        ("234567", "16 characters"),
        ("Ä" * 16, "base32"),
    ],
)
def test_a_text_that_is_no_totp_secret_is_named_and_not_shown(text, why):
    message = refused({"DHAN_PIN": "123456", "DHAN_TOTP_SECRET": text})
    assert message.startswith("DHAN_TOTP_SECRET: expected ")
    assert why in message
    assert text not in message


@pytest.mark.parametrize(
    "text", ["gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ===="]
)
def test_a_totp_secret_may_be_copied_as_it_is_shown(text):
    settings = load_settings({"DHAN_PIN": "123456", "DHAN_TOTP_SECRET": text}, None)
    assert settings.dhan_totp_secret.get_secret_value() == TOTP_SECRET


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"SUPABASE_URL": "https://x"}, ("SUPABASE_URL", "SUPABASE_KEY")),
        ({"SUPABASE_KEY": "x"}, ("SUPABASE_URL", "SUPABASE_KEY")),
        ({"SUPABASE_ROLE_TOKEN": "x"}, ("SUPABASE_URL", "SUPABASE_ROLE_TOKEN")),
        ({"REDIS_URL": "redis://x", "REDIS_HOST": "x"}, ("REDIS_URL", "REDIS_HOST")),
        ({"ORDER_CONNECT_TIMEOUT_S": "3"}, ("ORDER_CONNECT_TIMEOUT_S", "ORDER_TIMEOUT_S")),
        ({"LOG_LEVEL": "INFO", "log_level": "DEBUG"}, ("LOG_LEVEL",)),
        ({"DHAN_PIN": "123456"}, ("DHAN_PIN", "DHAN_TOTP_SECRET")),
        ({"DHAN_TOTP_SECRET": TOTP_SECRET}, ("DHAN_PIN", "DHAN_TOTP_SECRET")),
    ],
)
def test_contradictions_name_both_options(environ, names):
    message = refused(environ)
    assert [name for name in names if name not in message] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:54321",
        "http://[::1]:54321",
        "http://localhost:54321",
        "http://kong:8000",
        "http://10.1.2.3",
        "http://db.internal",
        "https://abc.supabase.co",
    ],
)
def test_the_key_may_go_to_this_address(url):
    assert load_settings({"SUPABASE_URL": url, "SUPABASE_KEY": "k"}, None).supabase_url == url


@pytest.mark.parametrize("url", ["http://abc.supabase.co", "http://8.8.8.8", "http://example.org:54321"])
def test_a_key_is_never_sent_in_the_clear_across_the_internet(url):
    message = refused({"SUPABASE_URL": url, "SUPABASE_KEY": "canary"})
    assert "SUPABASE_URL" in message
    assert "https" in message
    assert "canary" not in message


def test_the_address_of_the_rest_service_is_taken_for_the_project():
    settings = load_settings({"SUPABASE_URL": "https://abc.supabase.co/rest/v1/", "SUPABASE_KEY": "k"}, None)
    assert settings.supabase_url == "https://abc.supabase.co"


@pytest.mark.parametrize(
    "url", ["https://me:parrot@x.example", "postgresql://postgres:parrot@db.example:5432/postgres"]
)
def test_a_password_in_an_address_is_refused_and_not_shown(url):
    message = refused({"SUPABASE_URL": url, "SUPABASE_KEY": "k"})
    assert "SUPABASE_URL" in message
    assert "parrot" not in message


@pytest.mark.parametrize("name", ["SUPABASE_SCHEMA", "SUPABASE_TRADES_TABLE"])
@pytest.mark.parametrize("value", ["a.b", "trades;drop", "1st", "x" * 64, "tra des"])
def test_a_table_name_is_one_plain_name(name, value):
    assert name in refused({name: value})


def test_no_secret_appears_in_any_text(tmp_path):
    secrets = {
        "DHAN_ACCESS_TOKEN": "parrot-1",
        "DHAN_PIN": "70770722",
        "DHAN_TOTP_SECRET": "PARROTPARROTPARROTPARROT",
        "SUPABASE_KEY": "parrot-4",
        "SUPABASE_ROLE_TOKEN": "parrot-6",
        "REDIS_URL": "redis://:parrot-5@host",
    }
    settings = load_settings({**secrets, "SUPABASE_URL": "https://x"}, None)
    texts = (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump()))
    assert [text for text in texts if "parrot" in text.lower() or "70770722" in text] == []
    assert set(settings.secrets) == set(secrets.values())


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        load_settings({}, None).log_level = "DEBUG"


def secret_file(path: Path, mode: int = 0o600, content: bytes = b"canary-token\n") -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("name", sorted(FROM_FILE))
def test_secrets_are_read_from_files(name, tmp_path):
    text = {"REDIS_URL": b"redis://h\n", "DHAN_TOTP_SECRET": TOTP_SECRET.encode()}.get(name, b" 123456 \n")
    environ = {f"{name}_FILE": str(secret_file(tmp_path / "s", content=text))}
    if name in {"DHAN_PIN", "DHAN_TOTP_SECRET"}:
        environ |= {"DHAN_PIN": "123456", "DHAN_TOTP_SECRET": TOTP_SECRET}
        del environ[name]
    if name.startswith("SUPABASE"):
        environ |= {"SUPABASE_URL": "https://x", **({"SUPABASE_KEY": "k"} if name != "SUPABASE_KEY" else {})}
    value = getattr(load_settings(environ, None), name.lower())
    assert getattr(value, "get_secret_value", lambda: value)() == text.decode().strip()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620])
def test_a_secret_file_that_others_may_touch_is_refused(mode, tmp_path):
    path = secret_file(tmp_path / "token", mode)
    message = refused({"DHAN_ACCESS_TOKEN_FILE": str(path)})
    assert "DHAN_ACCESS_TOKEN_FILE" in message
    assert f"chmod 600 {path}" in message
    assert "canary" not in message


def test_a_systemd_credential_with_an_access_list_is_accepted(tmp_path):
    path = secret_file(tmp_path / "token", 0o440)
    environ = {"DHAN_ACCESS_TOKEN_FILE": str(path), "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert load_settings(environ, None).dhan_access_token is not None
    path.chmod(0o444)
    assert "chmod 600" in refused(environ)


@pytest.mark.parametrize(("content", "why"), [(b"", "empty"), (b"\xff\xfe", "ASCII"), (b"x" * 20_000, "larger")])
def test_a_useless_secret_file_is_named(content, why, tmp_path):
    message = refused({"DHAN_PIN_FILE": str(secret_file(tmp_path / "pin", content=content))})
    assert "DHAN_PIN_FILE" in message
    assert why in message


def test_a_missing_secret_file_is_named(tmp_path):
    assert "No such file" in refused({"DHAN_PIN_FILE": str(tmp_path / "absent")})


def test_value_and_file_of_one_secret_contradict_in_one_place_only(tmp_path):
    path = str(secret_file(tmp_path / "token", content=b"from-file"))
    message = refused({"DHAN_ACCESS_TOKEN": "a", "DHAN_ACCESS_TOKEN_FILE": path})
    assert "DHAN_ACCESS_TOKEN and DHAN_ACCESS_TOKEN_FILE" in message
    env_file = tmp_path / ".env"
    env_file.write_text(f"DHAN_ACCESS_TOKEN_FILE={path}\n")
    assert load_settings({"DHAN_ACCESS_TOKEN": "a"}, env_file).dhan_access_token.get_secret_value() == "a"
    env_file.write_text("DHAN_ACCESS_TOKEN=a\n")
    settings = load_settings({"DHAN_ACCESS_TOKEN_FILE": path}, env_file)
    assert settings.dhan_access_token.get_secret_value() == "from-file"


def test_a_broken_line_of_the_env_file_is_named_by_number_not_content(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text("LOG_LEVEL=INFO\nDHAN_PIN='canary\n")
    message = refused({}, env_file)
    assert f"{env_file} line 2" in message
    assert "canary" not in message


def test_an_unreadable_env_file_is_named(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"LOG_LEVEL=\xff\n")
    assert str(env_file) in refused({}, env_file)


def test_relative_paths_lie_beside_the_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"TRADES_DB": "x/t.db", "STATE_DIR": "/abs", "DHAN_INSTRUMENTS": "m.csv.gz"}, None)
    assert settings.trades_db == ROOT / "x" / "t.db"
    assert settings.state_dir == Path("/abs")
    assert settings.dhan_instruments == str(ROOT / "m.csv.gz")
    assert settings.log_dir == ROOT / "logs"


def test_profiles_are_chosen_per_strategy():
    settings = load_settings({"EXIT_PROFILE_42": "aggressive_profits", "EXIT_PROFILE_7": ""}, None)
    assert settings.exit_profiles == {42: "aggressive_profits"}


def test_levels_are_set_per_strategy_and_read_at_start():
    environ = {"EXIT_OVERRIDE_42": "stop=5000; target=30%", "exit_override_7": "dte=2", "EXIT_OVERRIDE_8": " "}
    assert load_settings(environ, None).exit_overrides == {42: "stop=5000; target=30%", 7: "dte=2"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stop=lots", r"'stop=lots': expected rupees \(5000\), per cent"),
        ("stop=5,000", "received '5,000'"),
        ("stp=5000", "expected one of stop, target, trail"),
        ("none=stop", r"without a stop nothing limits the loss: write stop! where that is meant"),
        ("stop=1; stop=2", "stop is said twice"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused_at_start(text, words):
    with pytest.raises(ConfigurationError, match=words) as refusal:
        load_settings({"EXIT_OVERRIDE_42": text}, None)
    assert refusal.value.problem.startswith("EXIT_OVERRIDE_42: ")
    assert refusal.value.remedy.startswith("Set EXIT_OVERRIDE_42 to levels such as stop=5000;")


def test_the_adjustment_warning_needs_two_shares_that_rise():
    assert load_settings({"EXIT_ADJUST_FIRST_PERCENT": "0"}, None).exit_adjust_first_percent == 0
    with pytest.raises(ConfigurationError, match="EXIT_ADJUST_LAST_PERCENT is not more than EXIT_ADJUST_FIRST_PERCENT"):
        load_settings({"EXIT_ADJUST_LAST_PERCENT": "25"}, None)


def test_category_defaults_are_the_operators_numbers():
    settings = load_settings({"EXIT_INCOME_DTE_DAYS": "5"}, None)
    income = settings.category_defaults("income")
    assert (income.target_percent, income.stop_percent, income.dte_days) == (50, 200, 5)


@pytest.mark.parametrize("category", list(Category))
def test_untouched_settings_are_the_numbers_of_the_profiles(category):
    numbers, profile = load_settings({}, None).category_defaults(category), CATEGORY_PROFILES[category]
    assert numbers.target_percent == profile.target_percent
    assert numbers.stop_percent == profile.stop_percent
    assert numbers.dte_days == profile.dte_days


def test_an_account_needs_an_id_and_a_token_or_what_mints_one():
    validate_account(load_settings(ACCOUNT, None))
    validate_account(
        load_settings({"DHAN_CLIENT_ID": "1", "DHAN_PIN": "123456", "DHAN_TOTP_SECRET": TOTP_SECRET}, None)
    )
    with pytest.raises(ConfigurationError, match="DHAN_CLIENT_ID is not set"):
        validate_account(load_settings({}, None))
    with pytest.raises(ConfigurationError, match="DHAN_ACCESS_TOKEN is not set, and neither are DHAN_PIN"):
        validate_account(load_settings({"DHAN_CLIENT_ID": "1"}, None))


def test_live_needs_the_account_typed_out():
    validate_live(load_settings({**ACCOUNT, "LIVE_TRADING_ACCOUNT": "1100003626"}, None))
    with pytest.raises(ConfigurationError, match="LIVE_TRADING_ACCOUNT is not set"):
        validate_live(load_settings(ACCOUNT, None))
    with pytest.raises(ConfigurationError, match="same account"):
        validate_live(load_settings({**ACCOUNT, "LIVE_TRADING_ACCOUNT": "1100003627"}, None))
    with pytest.raises(ConfigurationError, match="DHAN_CLIENT_ID is not set"):
        validate_live(load_settings({"LIVE_TRADING_ACCOUNT": "1"}, None))


def test_the_example_file_documents_every_option_with_its_default(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", text, re.MULTILINE))
    of_one_strategy = {"EXIT_PROFILE_42", "EXIT_OVERRIDE_42"}
    assert named - of_one_strategy == {name.upper() for name in Settings.model_fields if name not in NOT_PLAIN}
    spelled_out = tmp_path / ".env"
    spelled_out.write_text(re.sub(r"^# (?=[A-Z][A-Z0-9_]*=)", "", text, flags=re.MULTILINE))
    of_one_strategy = {
        "EXIT_PROFILE_42": "aggressive_profits",
        "EXIT_OVERRIDE_42": "stop=5000; target=30%; none=dte",
    }
    assert load_settings({}, spelled_out) == load_settings(of_one_strategy, None)
