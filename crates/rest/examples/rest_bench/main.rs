//! What `cargo xtask bench rest` measures: the real front end over the record of a cluster of 24 nodes, beside a
//! bare hyper server that answers the same bytes over the same TLS, and the clients that ask both. Each is a
//! process of its own that says on standard output what only it can know. Not a tool for operators.

mod bare;
mod client;
mod load;
mod package;
mod record;
mod serve;
mod wait;

use std::error::Error;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

const USAGE: &str = "package FILE MEGABYTES | record FOLDER midway|completed | serve FOLDER | \
    load ADDRESS CA PATH CONNECTIONS SECONDS PID | pace ADDRESS CA PATH CONNECTIONS PER_SECOND | \
    idle ADDRESS CA PATH CONNECTIONS | upload ADDRESS CA PACKAGE | guess ADDRESS CA COUNT";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    allow_connections()?;
    match words[..] {
        ["package", file, megabytes] => package::make(Path::new(file), megabytes.parse()?),
        ["record", folder, stand] => record::make(Path::new(folder), stand.parse()?),
        // As the daemon's runtime is.
        ["serve", folder] => several_threads()?.block_on(serve::serve(Path::new(folder))),
        ["load", address, ca, path, connections, seconds, pid] => {
            let target = client::Target::new(address, Path::new(ca), path)?;
            let load = load::Load {
                connections: connections.parse()?,
                seconds: seconds.parse()?,
                server: pid.parse()?,
            };
            one_thread()?.block_on(load::load(target, load))
        }
        ["pace", address, ca, path, connections, rate] => {
            let target = client::Target::new(address, Path::new(ca), path)?;
            let (connections, rate) = (connections.parse()?, rate.parse()?);
            one_thread()?.block_on(load::pace(target, connections, rate))
        }
        ["idle", address, ca, path, connections] => {
            let target = client::Target::new(address, Path::new(ca), path)?;
            one_thread()?.block_on(load::idle(target, connections.parse()?))
        }
        ["upload", address, ca, package] => {
            let target = client::Target::new(address, Path::new(ca), package::UPLOAD)?;
            one_thread()?.block_on(package::upload(target, Path::new(package)))
        }
        ["guess", address, ca, count] => {
            let target = client::Target::new(address, Path::new(ca), "/api/cluster")?;
            one_thread()?.block_on(load::guess(target, count.parse()?))
        }
        _ => Err(USAGE.into()),
    }
}

fn several_threads() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().build()?)
}

/// A client has one core, so that its own work is the same whoever answers.
fn one_thread() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}

/// Open files for all connections, as the daemon allows itself.
fn allow_connections() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
