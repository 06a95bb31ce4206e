//! Calls that the kernel does not answer to a check: what namespaces do not confine, and doors to more of the
//! kernel than a check needs.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// Refused whatever their arguments are.
const REFUSED: &[i64] = &[
    // Other namespaces and filesystems than its own.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Memory that no bound of a process counts.
    libc::SYS_memfd_create,
    libc::SYS_shmget,
    libc::SYS_msgget,
    // What no namespace divides.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Where the kernel's own defects mostly were.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Kinds of sockets that the namespaces confine. Others (to the hypervisor, say) they may not.
const SOCKETS: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// Flags of `clone` that would make a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// From here on, for this thread and all that it starts. Takes no new privileges for granted.
pub(super) fn refuse() -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| format!("calls to the kernel: {error}");
    for program in [without_clone3(), refused()] {
        let program = program.map_err(|error| said(&error))?;
        apply_filter(&program).map_err(|error| said(&error))?;
    }
    Ok(())
}

/// Its flags lie where no filter sees them. Programs that are told there is no such call take `clone`.
fn without_clone3() -> Result<BpfProgram, BackendError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    program(rules, libc::ENOSYS)
}

fn refused() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let other = |socket: &i32| condition(SeccompCmpOp::Ne, *socket);
    let others = SOCKETS.iter().map(other).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(others)?]);
    let makes = |flag: &i32| {
        let flag_is_set = SeccompCmpOp::MaskedEq(u64::from(flag.cast_unsigned()));
        SeccompRule::new(vec![condition(flag_is_set, *flag)?])
    };
    let namespaces = NAMESPACES.iter().map(makes).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_clone, namespaces);
    program(rules, libc::EPERM)
}

/// A condition on a call's first argument.
fn condition(operator: SeccompCmpOp, value: i32) -> Result<SeccompCondition, BackendError> {
    let value = u64::from(value.cast_unsigned());
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value)
}

/// What a rule names ends with that error; all else is the kernel's to answer.
fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> Result<BpfProgram, BackendError> {
    let refusal = SeccompAction::Errno(error.cast_unsigned());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch)?.try_into()
}
