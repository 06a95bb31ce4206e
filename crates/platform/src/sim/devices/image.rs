//! Images for simulated devices. They say for what they are, as real ones do, and carry a sum: a device
//! takes nothing else for firmware.

use evenkeel_model::{DeviceModel, FirmwareRevision};

/// Bytes of an image before its body.
const HEAD: usize = 256;
const MAGIC: &str = "EVENKEEL-SIM-FIRMWARE 1";
/// What firmware of a service processor begins with: it comes as a zip.
const ZIP: &str = "PK\u{3}\u{4}\n";
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// For what kind of device an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// A drive, of whatever transport.
    Drive,
    /// A shelf's I/O module.
    Module,
    /// A service processor.
    Processor,
}

impl ImageKind {
    fn word(self) -> &'static str {
        match self {
            Self::Drive => "drive",
            Self::Module => "module",
            Self::Processor => "processor",
        }
    }
}

/// An image that a simulated device of this kind and model takes, with a body of so many bytes.
pub fn firmware_image(
    kind: ImageKind,
    model: &DeviceModel,
    revision: &FirmwareRevision,
    body: usize,
) -> Vec<u8> {
    // Not all the same, so that a piece in the wrong place is noticed.
    let body: Vec<u8> = (0..body).map(|at| (at * 31 + at / 251) as u8).collect();
    let sum = fnv(FNV_START, &body);
    let begin = match kind {
        ImageKind::Processor => ZIP,
        ImageKind::Drive | ImageKind::Module => "",
    };
    let head = format!(
        "{begin}{MAGIC}\n{}\n{model}\n{revision}\n{}\n{sum:016x}\n",
        kind.word(),
        body.len()
    );
    let mut image = head.into_bytes();
    image.resize(HEAD, b'\n');
    image.extend(body);
    image
}

/// A disk qualification package that knows two of the drives' models, one of them with newer firmware only.
const QUALIFICATION: &str = "evenkeel-qualification 1
version 3.18
revision 20260131
drive X423_SLTNG1T8SSX NA02
drive X422_SLTNG600A10 -
device IOM12 0210
system lab-x86_64
checksum sha256 197b81a1553da68939d1bee29fbcadf515708f5ff3af409dc98183faf1f41b8e
";

/// Files as a vendor gives them, for every device of the simulated hardware and newer than what it has from the factory:
/// name and content. The images have a body of so many bytes.
pub fn newer_firmware(body: usize) -> Vec<(String, Vec<u8>)> {
    let image = |kind, model: &str, revision: &str, file: String| {
        let model = model.parse().expect("a model of ours is one");
        let revision = revision.parse().expect("a revision of ours is one");
        (file, firmware_image(kind, &model, &revision, body))
    };
    let drives = ["X423_SLTNG1T8SSX", "X422_SLTNG600A10", "X4011_LANES3T8"];
    let mut files: Vec<_> = drives
        .map(|model| image(ImageKind::Drive, model, "NA02", format!("{model}.NA02.LOD")))
        .into();
    files.push(image(
        ImageKind::Module,
        "IOM12",
        "0300",
        "IOM12.0300.SFW".to_owned(),
    ));
    files.push(image(
        ImageKind::Processor,
        "LABSP",
        "5.9",
        "LABSP_5.9_SP_FW.zip".to_owned(),
    ));
    let qualification = QUALIFICATION.as_bytes().to_vec();
    files.push(("qual_devices_v3".to_owned(), qualification));
    files
}

fn fnv(start: u64, bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(start, step)
}

/// What an image's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    kind: String,
    model: DeviceModel,
    revision: FirmwareRevision,
    body: usize,
    sum: u64,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(bytes).ok()?;
        let mut lines = head.strip_prefix(ZIP).unwrap_or(head).lines();
        (lines.next()? == MAGIC).then_some(())?;
        Some(Self {
            kind: lines.next()?.to_owned(),
            model: lines.next()?.parse().ok()?,
            revision: lines.next()?.parse().ok()?,
            body: lines.next()?.parse().ok()?,
            sum: u64::from_str_radix(lines.next()?, 16).ok()?,
        })
    }
}

/// An image on its way into a device, piece by piece. The device keeps no more of it than this.
#[derive(Clone, Debug)]
pub(super) struct Receiving {
    head: Vec<u8>,
    at: usize,
    sum: u64,
}

/// How far an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Less than half of it is here.
    Begun,
    /// Half of it is here.
    Half,
    /// All of it, and it is whole.
    Whole(FirmwareRevision),
    /// The piece does not follow the last one.
    OutOfOrder,
    /// It is no image for this device, or damaged.
    Bad,
}

impl Receiving {
    pub(super) fn new() -> Self {
        Self {
            head: Vec::new(),
            at: 0,
            sum: FNV_START,
        }
    }

    /// Bytes that are here.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn push(
        &mut self,
        offset: usize,
        bytes: &[u8],
        kind: ImageKind,
        model: &DeviceModel,
    ) -> Received {
        if offset != self.at {
            return Received::OutOfOrder;
        }
        let of_head = HEAD.saturating_sub(self.at).min(bytes.len());
        self.head.extend(&bytes[..of_head]);
        self.at += bytes.len();
        if self.head.len() < HEAD {
            return Received::Begun;
        }
        let Some(head) = Head::parse(&self.head) else {
            return Received::Bad;
        };
        if head.kind != kind.word() || head.model != *model {
            return Received::Bad;
        }
        let missing = (HEAD + head.body).saturating_sub(offset + of_head);
        // Transports round the last piece up; what is beyond the image does not count.
        let body = &bytes[of_head..];
        self.sum = fnv(self.sum, &body[..body.len().min(missing)]);
        match self.at {
            at if at >= HEAD + head.body && self.sum == head.sum => Received::Whole(head.revision),
            at if at >= HEAD + head.body => Received::Bad,
            at if at >= (HEAD + head.body) / 2 => Received::Half,
            _ => Received::Begun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (DeviceModel, FirmwareRevision) {
        ("X1".parse().unwrap(), "NA02".parse().unwrap())
    }

    fn receive(image: &[u8], piece: usize) -> Received {
        let (model, _) = names();
        let mut receiving = Receiving::new();
        let mut last = Received::Begun;
        for chunk in image.chunks(piece) {
            last = receiving.push(receiving.at(), chunk, ImageKind::Drive, &model);
        }
        last
    }

    #[test]
    fn an_image_is_whole_whatever_the_pieces_and_never_when_damaged() {
        let (model, revision) = names();
        let mut image = firmware_image(ImageKind::Drive, &model, &revision, 5_000);
        for piece in [1, 100, 256, 300, 4_096, 9_999] {
            let whole = Received::Whole(revision.clone());
            assert_eq!(receive(&image, piece), whole, "{piece}");
        }
        assert_eq!(receive(&image[..5_000], 512), Received::Half);
        image[4_000] ^= 1;
        assert_eq!(receive(&image, 512), Received::Bad);
        let other = firmware_image(ImageKind::Module, &model, &revision, 10);
        assert_eq!(receive(&other, 512), Received::Bad);
        assert_eq!(receive(&[0; 600], 512), Received::Bad);
    }

    #[test]
    fn a_piece_out_of_order_is_noticed() {
        let (model, revision) = names();
        let image = firmware_image(ImageKind::Drive, &model, &revision, 5_000);
        let mut receiving = Receiving::new();
        let mut push = |offset, bytes| receiving.push(offset, bytes, ImageKind::Drive, &model);
        assert_eq!(push(0, &image[..512]), Received::Begun);
        assert_eq!(push(0, &image[..512]), Received::OutOfOrder);
        assert_eq!(push(1_024, &image[..512]), Received::OutOfOrder);
    }
}
