//! The system calls that no safe library offers: commands to SCSI and NVMe devices, and the state of the kernel's clock. The only
//! `unsafe` of this crate.
#![expect(
    unsafe_code,
    reason = "ioctl and adjtimex take pointers; every block says why they are valid"
)]

use std::fs::File;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_uchar, c_uint, c_ushort, c_void};

/// `struct sg_io_hdr` of <scsi/sg.h>.
#[repr(C)]
struct SgIoHdr {
    interface_id: c_int,
    dxfer_direction: c_int,
    cmd_len: c_uchar,
    mx_sb_len: c_uchar,
    iovec_count: c_ushort,
    dxfer_len: c_uint,
    dxferp: *mut c_void,
    cmdp: *mut c_uchar,
    sbp: *mut c_uchar,
    timeout: c_uint,
    flags: c_uint,
    pack_id: c_int,
    usr_ptr: *mut c_void,
    status: c_uchar,
    masked_status: c_uchar,
    msg_status: c_uchar,
    sb_len_wr: c_uchar,
    host_status: c_ushort,
    driver_status: c_ushort,
    resid: c_int,
    duration: c_uint,
    info: c_uint,
}

const SG_INTERFACE: c_int = b'S' as c_int;
const SG_DXFER_NONE: c_int = -1;
const SG_DXFER_TO_DEV: c_int = -2;
const SG_DXFER_FROM_DEV: c_int = -3;

/// `struct nvme_passthru_cmd` of <linux/nvme_ioctl.h>, which `nvme_admin_cmd` is another name for.
#[repr(C)]
#[derive(Default)]
struct NvmePassthru {
    opcode: u8,
    flags: u8,
    rsvd1: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    addr: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_ms: u32,
    result: u32,
}

/// `SG_IO` of <scsi/sg.h>; older than the scheme by which numbers of ioctls are made.
const SG_IO: u32 = 0x2285;

nix::ioctl_readwrite_bad!(sg_io, SG_IO, SgIoHdr);
nix::ioctl_readwrite!(nvme_admin, b'N', 0x41, NvmePassthru);
nix::ioctl_none!(nvme_reset, b'N', 0x44);
nix::ioctl_none!(nvme_subsystem_reset, b'N', 0x45);

/// The data phase of a command.
pub(super) enum Data<'a> {
    None,
    /// To the device.
    Out(&'a mut [u8]),
    /// From the device.
    In(&'a mut [u8]),
}

/// How a SCSI command ended, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SgEnd {
    pub(super) status: u8,
    pub(super) host_status: u16,
    pub(super) driver_status: u16,
    pub(super) sense_length: u8,
    /// Bytes that were not transferred.
    pub(super) residual: i32,
}

/// Sends a SCSI command and waits for its end.
pub(super) fn scsi(
    file: &File,
    cdb: &mut [u8],
    data: Data<'_>,
    sense: &mut [u8],
    timeout_ms: u32,
) -> Result<SgEnd, Errno> {
    let (direction, pointer, length) = match data {
        Data::None => (SG_DXFER_NONE, std::ptr::null_mut(), 0),
        Data::Out(bytes) => (SG_DXFER_TO_DEV, bytes.as_mut_ptr(), bytes.len()),
        Data::In(bytes) => (SG_DXFER_FROM_DEV, bytes.as_mut_ptr(), bytes.len()),
    };
    let mut header = SgIoHdr {
        interface_id: SG_INTERFACE,
        dxfer_direction: direction,
        cmd_len: u8::try_from(cdb.len()).map_err(|_| Errno::EINVAL)?,
        mx_sb_len: u8::try_from(sense.len()).unwrap_or(u8::MAX),
        iovec_count: 0,
        dxfer_len: u32::try_from(length).map_err(|_| Errno::EINVAL)?,
        dxferp: pointer.cast(),
        cmdp: cdb.as_mut_ptr(),
        sbp: sense.as_mut_ptr(),
        timeout: timeout_ms,
        flags: 0,
        pack_id: 0,
        usr_ptr: std::ptr::null_mut(),
        status: 0,
        masked_status: 0,
        msg_status: 0,
        sb_len_wr: 0,
        host_status: 0,
        driver_status: 0,
        resid: 0,
        duration: 0,
        info: 0,
    };
    // SAFETY: the header is the kernel's struct (its size and offsets are tested below). Its three pointers come from slices that are
    // borrowed mutably for the whole call, and its three lengths are theirs or less: the kernel writes nowhere else. The call returns
    // only when the command has ended and the kernel has let go of them.
    unsafe { sg_io(file.as_raw_fd(), &mut header) }?;
    Ok(SgEnd {
        status: header.status,
        host_status: header.host_status,
        driver_status: header.driver_status,
        sense_length: header.sb_len_wr,
        residual: header.resid,
    })
}

/// An NVMe admin command without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admin {
    pub(super) opcode: u8,
    pub(super) namespace: u32,
    pub(super) dwords: [u32; 6],
    pub(super) timeout_ms: u32,
}

/// Sends an NVMe admin command and waits for its completion: its status field as the kernel has it, and dword 0.
pub(super) fn nvme(file: &File, command: Admin, data: Data<'_>) -> Result<(u16, u32), Errno> {
    // The direction is in the opcode's lowest bits, so both are the same here.
    let (pointer, length) = match data {
        Data::None => (std::ptr::null_mut(), 0),
        Data::Out(bytes) | Data::In(bytes) => (bytes.as_mut_ptr(), bytes.len()),
    };
    let [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = command.dwords;
    let mut passthru = NvmePassthru {
        opcode: command.opcode,
        nsid: command.namespace,
        addr: pointer as usize as u64,
        data_len: u32::try_from(length).map_err(|_| Errno::EINVAL)?,
        cdw10,
        cdw11,
        cdw12,
        cdw13,
        cdw14,
        cdw15,
        timeout_ms: command.timeout_ms,
        ..NvmePassthru::default()
    };
    // SAFETY: the struct is the kernel's (its size and offsets are tested below). `addr` and `data_len` are those of a slice that is
    // borrowed mutably for the whole call, or null and zero. The call returns only when the command has ended.
    let status = unsafe { nvme_admin(file.as_raw_fd(), &mut passthru) }?;
    Ok((u16::try_from(status).unwrap_or(u16::MAX), passthru.result))
}

/// Resets a controller.
pub(super) fn reset_controller(file: &File) -> Result<(), Errno> {
    // SAFETY: this ioctl takes no argument.
    unsafe { nvme_reset(file.as_raw_fd()) }.map(drop)
}

/// Resets the whole subsystem of a controller.
pub(super) fn reset_subsystem(file: &File) -> Result<(), Errno> {
    // SAFETY: this ioctl takes no argument.
    unsafe { nvme_subsystem_reset(file.as_raw_fd()) }.map(drop)
}

/// Whether somebody corrects the kernel's clock, and what is left to correct, in microseconds.
pub(super) fn clock() -> Result<(bool, i64), Errno> {
    // SAFETY: `timex` is a struct of numbers, of which zero is one; with `modes` zero nothing is changed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole struct of libc's, valid and writable for the call.
    let said = unsafe { libc::adjtimex(&mut state) };
    let said = Errno::result(said)?;
    let synchronized = state.status & libc::STA_UNSYNC == 0 && said != libc::TIME_ERROR;
    let offset = match state.status & libc::STA_NANO {
        0 => state.offset,
        _ => state.offset / 1000,
    };
    Ok((synchronized, offset))
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// Sizes and offsets as a C program prints them on x86-64 and arm64.
    #[test]
    fn the_structs_are_the_kernels() {
        assert_eq!(size_of::<SgIoHdr>(), 88);
        assert_eq!(offset_of!(SgIoHdr, dxferp), 16);
        assert_eq!(offset_of!(SgIoHdr, timeout), 40);
        assert_eq!(offset_of!(SgIoHdr, usr_ptr), 56);
        assert_eq!(offset_of!(SgIoHdr, status), 64);
        assert_eq!(offset_of!(SgIoHdr, host_status), 68);
        assert_eq!(offset_of!(SgIoHdr, resid), 72);
        assert_eq!(size_of::<NvmePassthru>(), 72);
        assert_eq!(offset_of!(NvmePassthru, addr), 24);
        assert_eq!(offset_of!(NvmePassthru, cdw10), 40);
        assert_eq!(offset_of!(NvmePassthru, timeout_ms), 64);
        assert_eq!(offset_of!(NvmePassthru, result), 68);
    }
}
