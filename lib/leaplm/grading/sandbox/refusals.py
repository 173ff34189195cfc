"""Why this machine refuses a sandbox, and what to do about it: the safe way first.

Bubblewrap says only which call the kernel refused ("setting up uid map: Permission denied"); who forbade it stands in
settings of the kernel. See user_namespaces(7), and Ubuntu's page on restricted unprivileged user namespaces.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

# The last word is of our own test of the walls: student code ended before it had tried them.
REFUSED = re.compile(r"namespace|uid map|gid map|RTM_NEWADDR|loopback|Operation not permitted|Permission denied|"
                     r"pivot_root|[Mm]ount(ing)? |unshare|No space left on device|fail oddly")  # fmt: skip
SYSTEM_BWRAP = "/usr/bin/bwrap"
CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
CONTAINER = ("This machine is a container, whose rules forbid what a sandbox needs. Grade on the machine around it, or in a "
             "virtual machine. Or start the container with rules that allow it: docker run --security-opt "
             "seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined")  # fmt: skip
WSL_1 = "This is WSL 1, which has no namespaces. In Windows: wsl --list, then wsl --set-version NAME 2"
APPARMOR = """AppArmor forbids user namespaces here, as on Ubuntu since 23.10. Allow them for bubblewrap alone, by a profile:

{install}sudo tee /etc/apparmor.d/leaplm-bwrap <<'END'
abi <abi/4.0>,
include <tunables/global>
profile leaplm-bwrap {bwrap} flags=(unconfined) {{
  userns,
}}
END
{disable}sudo apparmor_parser -r /etc/apparmor.d/leaplm-bwrap
"""
OTHER_PROFILE = "bwrap-userns-restrict"  # of newer Ubuntus: it lets bubblewrap start, and forbids the walls inside
SYSCTL = ("This kernel is set to forbid user namespaces to all but root ({name} is 0). Allow them, as most systems do: "
          "sudo sysctl -w {name}={value} (and the same line in /etc/sysctl.d/leaplm.conf, to keep it)")  # fmt: skip
SETTINGS = {"kernel.unprivileged_userns_clone": 1, "user.max_user_namespaces": 15000}


def explain(said: str, bwrap: str) -> str:
    """What forbids a sandbox here and how to allow it, from what bubblewrap `said`; "" where that is not known."""
    if not REFUSED.search(said):
        return ""
    if "microsoft" in platform.release().lower() and "wsl2" not in platform.release().lower():
        return WSL_1
    if in_container():
        return CONTAINER
    if setting("kernel.apparmor_restrict_unprivileged_userns") == "1":
        return apparmor(bwrap)
    forbidden = [name for name in SETTINGS if setting(name) == "0"]
    return SYSCTL.format(name=forbidden[0], value=SETTINGS[forbidden[0]]) if forbidden else ""


def setting(name: str, root: Path = Path("/proc/sys")) -> str:
    """A setting of the kernel, "" where there is no such one.

    >>> setting("kernel.ostype")                    # doctest: +SKIP
    'Linux'
    """
    try:
        return (root / name.replace(".", "/")).read_text().strip()
    except OSError:
        return ""


def in_container() -> bool:
    return any(map(os.path.exists, CONTAINER_FILES)) or "KUBERNETES_SERVICE_HOST" in os.environ


def apparmor(bwrap: str, folder: Path = Path("/etc/apparmor.d")) -> str:
    """A profile for the system's bubblewrap: one for a program that its user may write would open the gate to any."""
    install = "" if bwrap == SYSTEM_BWRAP else "sudo apt-get install bubblewrap\n"
    other = (folder / OTHER_PROFILE).exists() and not (folder / "disable" / OTHER_PROFILE).exists()
    disable = (f"sudo ln -s {folder / OTHER_PROFILE} {folder / 'disable'}\n"
               f"sudo apparmor_parser -R {folder / OTHER_PROFILE}\n") if other else ""  # fmt: skip
    return APPARMOR.format(install=install, bwrap=SYSTEM_BWRAP, disable=disable)
