"""One monitor per state directory."""

import subprocess
import sys

import pytest

from core.model.errors import AlreadyRunningError, ConfigurationError
from core.settings_fields import ROOT
from core.state_dir import HOLDER_NAME, LOCK_NAME, StateDirLock, holder_of

HOLDER = """
import os, sys
from pathlib import Path
from core.state_dir import StateDirLock
StateDirLock(Path(sys.argv[1])).acquire()
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_refused_with_the_first_ones_process(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        pid = holder.stdout.readline().strip()
        with pytest.raises(AlreadyRunningError, match=rf"\(process {pid}\).*STATE_DIR"):
            StateDirLock(tmp_path).acquire()
        holder.kill()
    with StateDirLock(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text().strip() != pid


def test_the_lock_can_be_taken_again_after_release(tmp_path):
    folder = tmp_path / "new" / "state"
    lock = StateDirLock(folder)
    with lock:
        assert (folder / LOCK_NAME).stat().st_mode & 0o777 == 0o600
        with pytest.raises(AlreadyRunningError):
            StateDirLock(folder).acquire()
    lock.release()
    with StateDirLock(folder):
        pass


def test_an_unusable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="STATE_DIR"):
        StateDirLock(tmp_path / "file").acquire()
    (tmp_path / LOCK_NAME).symlink_to("/dev/null")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        StateDirLock(tmp_path).acquire()


def test_a_holder_keeps_its_name_and_another_folder_has_another(tmp_path):
    first = holder_of(tmp_path / "a")
    assert holder_of(tmp_path / "a") == first
    assert holder_of(tmp_path / "b") != first
    assert first.endswith((tmp_path / "a" / HOLDER_NAME).read_text().strip())


def test_a_folder_that_cannot_hold_the_name_is_a_setting_to_mend(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="holder_id"):
        holder_of(tmp_path / "file" / "under")
