"""The meaning of the exit statuses 200 to 245: the step that failed before the program itself ran. Pure.

systemd.exec(5), "PROCESS EXIT CODES"; the supervisor uses the same numbers. Fields are named as in `api.systemd.Unit`,
without `service.`: a status is short.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from rube.units.service.policy import CLD_EXITED

EXIT_CHDIR, EXIT_NICE, EXIT_FDS, EXIT_EXEC, EXIT_LIMITS = 200, 201, 202, 203, 205
EXIT_CAPABILITIES, EXIT_NO_NEW_PRIVILEGES = 218, 227
EXIT_STDIN, EXIT_STDOUT, EXIT_GROUP, EXIT_USER, EXIT_STDERR = 208, 209, 216, 217, 222


class ExitCode(NamedTuple):
    """`word` is systemd's; `field` is the field of the service that asked for the step, or empty."""

    word: str
    field: str
    text: str


EXIT_CODES: Final[Mapping[int, ExitCode]] = {
    EXIT_CHDIR: ExitCode("CHDIR", "working_directory", "the directory cannot be entered: see that it exists"),
    EXIT_NICE: ExitCode("NICE", "nice", "the priority cannot be set"),
    EXIT_FDS: ExitCode("FDS", "", "file descriptors cannot be closed or passed on"),
    EXIT_EXEC: ExitCode("EXEC", "exec", "a program cannot be executed: see that it exists and may be executed"),
    204: ExitCode("MEMORY", "", "the machine is out of memory"),
    EXIT_LIMITS: ExitCode("LIMITS", "limits", "a limit cannot be set: see the machine's hard limits"),
    206: ExitCode("OOM_ADJUST", "", "the OOM score cannot be set"),
    207: ExitCode("SIGNAL_MASK", "", "the signal mask cannot be set"),
    EXIT_STDIN: ExitCode("STDIN", "standard_input", "it cannot be opened"),
    EXIT_STDOUT: ExitCode("STDOUT", "standard_output", "it cannot be opened: see that its directory exists"),
    210: ExitCode("CHROOT", "root_directory", "it cannot become the root: see that it exists"),
    211: ExitCode("IOPRIO", "", "the I/O priority cannot be set"),
    212: ExitCode("TIMERSLACK", "", "the timer slack cannot be set"),
    213: ExitCode("SECUREBITS", "", "the secure bits cannot be set"),
    214: ExitCode("SETSCHEDULER", "", "the scheduler cannot be set"),
    215: ExitCode("CPUAFFINITY", "", "the processors cannot be chosen"),
    EXIT_GROUP: ExitCode("GROUP", "group", "the group does not exist on this machine, or may not be taken"),
    EXIT_USER: ExitCode("USER", "user", "the user does not exist on this machine, or may not be taken"),
    EXIT_CAPABILITIES: ExitCode("CAPABILITIES", "", "capabilities cannot be set"),
    219: ExitCode("CGROUP", "slice", "the control group cannot be set up"),
    220: ExitCode("SETSID", "", "no session can be made"),
    221: ExitCode("CONFIRM", "", "the start was not confirmed at the console"),
    EXIT_STDERR: ExitCode("STDERR", "standard_error", "it cannot be opened: see that its directory exists"),
    224: ExitCode("PAM", "", "no PAM session can be opened"),
    225: ExitCode("NETWORK", "", "the network namespace cannot be set up"),
    226: ExitCode(
        "NAMESPACE",
        "",
        "the mount namespace for root_directory, private_tmp, protect_system or directories cannot be set up",
    ),
    EXIT_NO_NEW_PRIVILEGES: ExitCode("NO_NEW_PRIVILEGES", "no_new_privileges", "it cannot be set"),
    228: ExitCode("SECCOMP", "", "system calls cannot be filtered"),
    229: ExitCode("SELINUX_CONTEXT", "", "the SELinux context cannot be set"),
    230: ExitCode("PERSONALITY", "", "the execution domain cannot be set"),
    231: ExitCode("APPARMOR", "", "the AppArmor profile cannot be set"),
    232: ExitCode("ADDRESS_FAMILIES", "", "address families cannot be restricted"),
    233: ExitCode("RUNTIME_DIRECTORY", "runtime_directory", "it cannot be made"),
    235: ExitCode("CHOWN", "", "the owner of a socket or directory cannot be changed"),
    236: ExitCode("SMACK_PROCESS_LABEL", "", "the SMACK label cannot be set"),
    237: ExitCode("KEYRING", "", "no kernel keyring can be had"),
    238: ExitCode("STATE_DIRECTORY", "state_directory", "it cannot be made"),
    239: ExitCode("CACHE_DIRECTORY", "", "the cache directory cannot be made"),
    240: ExitCode("LOGS_DIRECTORY", "", "the log directory cannot be made"),
    241: ExitCode("CONFIGURATION_DIRECTORY", "", "the configuration directory cannot be made"),
    242: ExitCode("NUMA_POLICY", "", "the NUMA policy cannot be set"),
    243: ExitCode("CREDENTIALS", "", "credentials cannot be set up"),
    245: ExitCode("BPF", "", "a BPF program cannot be attached"),
}


def explain_exit(exit_status: int) -> str:
    """Returns the step that failed before the program ran, such as `user: the user does not exist …`; empty for other
    statuses."""
    found = EXIT_CODES.get(exit_status)
    if found is None:
        return ""
    return f"{found.field}: {found.text}" if found.field else found.text


def exit_detail(exit_code: int, exit_status: int) -> str:
    """Returns how a process ended, as systemctl writes it: `status 203/EXEC`, `status 3`, `signal 9`; empty for 0, 0.

    `exit_code` is waitid's si_code: CLD_EXITED, or a signal.
    """
    if not exit_code:
        return ""
    if exit_code != CLD_EXITED:
        return f"signal {exit_status}"
    found = EXIT_CODES.get(exit_status)
    return f"status {exit_status}/{found.word}" if found else f"status {exit_status}"
