//! FTP, by suppaftp: passive mode, binary, from any byte on.

use bytes::{Bytes, BytesMut};
use suppaftp::tokio::{AsyncFtpStream, AsyncNoTlsStream, TransferStream};
use suppaftp::types::FileType;
use suppaftp::{FtpError, Mode, Status};
use tokio::io::AsyncReadExt;

use crate::error::{SourceError, StartsOver};
use crate::open::{Body, Client, Opened, Origin};
use crate::source::Source;
use crate::validator::Validator;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// What an anonymous login gives as password, by custom.
const ANONYMOUS: (&str, &str) = ("anonymous", "evenkeel@");

/// A file on its way, and the connection that says whether it came whole.
pub(crate) struct FtpBody {
    transfer: Option<TransferStream<AsyncNoTlsStream>>,
    /// The server has said that this was all.
    confirmed: bool,
    _control: AsyncFtpStream,
}

impl FtpBody {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
        const UNCONFIRMED: &str = "before the server confirmed the end of the file";
        if let Some(transfer) = &mut self.transfer {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            match transfer.read_buf(&mut chunk).await {
                Ok(0) => {}
                Ok(_) => return Ok(Some(chunk.freeze())),
                Err(_) => return Err("before the end of the file"),
            }
        }
        // The end of the data is the end of the file only if the server says so. Cancelled while it is waited
        // for, that is never known.
        if let Some(transfer) = self.transfer.take() {
            transfer.finish().await.map_err(|_| UNCONFIRMED)?;
            self.confirmed = true;
        }
        match self.confirmed {
            true => Ok(None),
            false => Err(UNCONFIRMED),
        }
    }
}

pub(crate) async fn open(
    client: &Client,
    source: &Source,
    from: u64,
    known: &Validator,
) -> Result<Opened, SourceError> {
    let host = source.host();
    let path = source.ftp_path().unwrap_or_default();
    let mut ftp = log_in(client, source).await?;
    let now = describe(client, host, &mut ftp, &path).await?;
    let starts_over = match from {
        0 => None,
        _ if !known.is_usable() => Some(StartsOver::NoValidator),
        _ if known.differs_from(&now) => Some(StartsOver::Changed),
        _ => None,
    };
    let mut start = Start {
        from: if starts_over.is_some() { 0 } else { from },
        starts_over,
    };
    let mut transfer = retrieve(client, host, &mut ftp, &path, start.from).await;
    // A server that does not know REST says so when it is used.
    if start.from > 0 && matches!(&transfer, Err(SourceError::Refused { .. })) {
        start = Start {
            from: 0,
            starts_over: Some(StartsOver::NoRanges),
        };
        transfer = retrieve(client, host, &mut ftp, &path, 0).await;
    }
    let body = FtpBody {
        transfer: Some(transfer?),
        confirmed: false,
        _control: ftp,
    };
    Ok(Opened {
        from: start.from,
        starts_over: start.starts_over,
        validator: now,
        content_type: None,
        body: Body::new(&client.limits, host, Origin::Ftp(Box::new(body))),
    })
}

/// Where the file is begun.
struct Start {
    from: u64,
    starts_over: Option<StartsOver>,
}

async fn log_in(client: &Client, source: &Source) -> Result<AsyncFtpStream, SourceError> {
    let host = source.host();
    let stream = client.connect(source).await?;
    let is_v4 = stream.peer_addr().is_ok_and(|peer| peer.is_ipv4());
    let welcomed = AsyncFtpStream::connect_with_stream(stream);
    let mut ftp = step(client, host, welcomed).await?;
    // The data come from the host that was named, whatever address the server would like to see used.
    ftp.set_passive_nat_workaround(true);
    ftp.set_mode(match is_v4 {
        true => Mode::Passive,
        false => Mode::ExtendedPassive,
    });
    let (user, password) = match source.credentials() {
        Some(given) => (given.user.expose(), given.password.expose()),
        None => ANONYMOUS,
    };
    step(client, host, ftp.login(user, password)).await?;
    step(client, host, ftp.transfer_type(FileType::Binary)).await?;
    Ok(ftp)
}

/// Size and time of the file, as far as the server tells them.
async fn describe(
    client: &Client,
    host: &str,
    ftp: &mut AsyncFtpStream,
    path: &str,
) -> Result<Validator, SourceError> {
    let total = match step(client, host, ftp.size(path)).await {
        Ok(bytes) => Some(bytes as u64),
        // Whether the file is there, only the attempt to get it tells.
        Err(SourceError::Refused { .. } | SourceError::NotThere { .. }) => None,
        Err(error) => return Err(error),
    };
    let modified = match step(client, host, ftp.mdtm(path)).await {
        Ok(time) => Some(time.to_string()),
        Err(SourceError::Refused { .. } | SourceError::NotThere { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Validator {
        etag: None,
        modified,
        total,
    })
}

async fn retrieve(
    client: &Client,
    host: &str,
    ftp: &mut AsyncFtpStream,
    path: &str,
    from: u64,
) -> Result<TransferStream<AsyncNoTlsStream>, SourceError> {
    if from > 0 {
        let offset = usize::try_from(from).unwrap_or(usize::MAX);
        step(client, host, ftp.resume_transfer(offset)).await?;
    }
    step(client, host, ftp.retr_as_stream(path)).await
}

async fn step<T>(
    client: &Client,
    host: &str,
    answer: impl Future<Output = Result<T, FtpError>>,
) -> Result<T, SourceError> {
    client
        .in_time(host, answer)
        .await?
        .map_err(|error| of_ftp(host.to_owned(), error))
}

/// What the server says beside its number is not repeated: some quote user names.
fn of_ftp(host: String, error: FtpError) -> SourceError {
    let why = "with an answer that makes no sense";
    match error {
        FtpError::ConnectionError(source) => SourceError::Connect { host, source },
        FtpError::UnexpectedResponse(response) => of_status(host, response.status),
        FtpError::BadResponse
        | FtpError::InvalidAddress(_)
        | FtpError::DataConnectionAlreadyOpen => SourceError::Broke { host, why },
    }
}

fn of_status(host: String, status: Status) -> SourceError {
    let number = status.code();
    match number {
        430 | 530 | 532 => SourceError::NotAllowed {
            host,
            status: number,
            advice: "give another user name and password",
        },
        550 | 553 => SourceError::NotThere {
            host,
            status: number,
        },
        500..600 => SourceError::Refused {
            host,
            status: number,
        },
        _ => SourceError::Unavailable {
            host,
            status: number,
        },
    }
}
