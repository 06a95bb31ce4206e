//! `evenkeel lab …`.

use std::fs;
use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use evenkeel_model::NodeName;
use evenkeel_platform::sim::{Fault, newer_firmware};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::addresses::parse_address;
use crate::control::{Control, ControlRequest};
use crate::lif;
use crate::minute::parse_duration;
use crate::prepare::Tools;
use crate::probe::Probe;
use crate::process::run_guarded;
use crate::settings::check_nodes;
use crate::supervisor::{UpOptions, up};

/// A cluster of real daemons on this machine, with simulated hardware.
#[derive(Clone, Debug, Subcommand)]
pub enum LabCommand {
    /// Run a lab in the foreground until SIGINT or SIGTERM; on the same folder again, go on where it was.
    Up(Up),
    /// Show the nodes of a running lab.
    Status(OfLab),
    /// End a running lab.
    Down(OfLab),
    /// Put a fault on a node, or take it off.
    Fault(FaultArgs),
    /// Write firmware for the devices of a lab into a folder, as a vendor gives it: images of disks, shelf and SP, and a
    /// disk qualification package. `evenkeel firmware build` signs it.
    Firmware {
        /// The folder; it is made if it is not there.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Size of each image in bytes.
        #[arg(long, value_name = "BYTES", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
        size: u32,
    },
    /// Give a node its power back.
    PowerOn(OfNode),
    /// Have a node taken over by its partner, by hand.
    Takeover(OfNode),
    /// Have everything given back to a node, by hand.
    Giveback(OfNode),
    /// Kill a node's evenkeeld with SIGKILL, and nothing else.
    Kill(OfNode),
    /// Reset a node without warning, as a panic does.
    Reset(OfNode),
    /// Print what happened to the hardware, as JSON lines.
    Events {
        /// Which lab.
        #[command(flatten)]
        lab: OfLab,
        /// Begin after this sequence number.
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        since: u64,
    },
    /// Read through every LIF all the time until SIGINT or SIGTERM, then print the I/O gaps as JSON.
    Probe {
        /// Which lab.
        #[command(flatten)]
        lab: OfLab,
        /// End after this time by itself.
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        duration: Option<Duration>,
    },
    /// Serve the LIFs of one node, as its supervisor says on standard input.
    #[command(hide = true)]
    LifServer {
        /// The node.
        #[arg(long)]
        node: NodeName,
    },
    /// Become a daemon that ends with its supervisor.
    #[command(hide = true)]
    RunDaemon {
        /// The supervisor's process.
        #[arg(long)]
        parent: u32,
        /// The daemon and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// Options of `lab up`.
#[derive(Clone, Debug, Args)]
pub struct Up {
    #[command(flatten)]
    lab: OfLab,
    /// Number of nodes, an even one [default: 4].
    #[arg(long, value_name = "N", value_parser = parse_nodes)]
    nodes: Option<usize>,
    /// Number of sites that the pairs are dealt out to: `site_A`, `site_B` … [default: 1].
    #[arg(long, value_name = "N")]
    sites: Option<usize>,
    /// Number of disks of each node [default: 4].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    disks: Option<u8>,
    /// Length of a minute of stabilize, boot and gate times [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    minute: Option<Duration>,
    /// The cluster's address; port 0 is any free one [default: 127.0.0.1:8443].
    #[arg(long, value_name = "ADDRESS", value_parser = parse_loopback)]
    address: Option<String>,
    /// Time from one scrub of a stored package to the next [default: a week].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    scrub_every: Option<Duration>,
    /// Most bytes per second that each node sends of packages to others [default: no bound].
    #[arg(long, value_name = "BYTES")]
    package_rate: Option<NonZeroU64>,
    /// The evenkeeld that runs where an image brings none [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    evenkeeld: Option<PathBuf>,
    /// Package that new nodes are installed with [default: one made of this build].
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
}

/// Which lab.
#[derive(Clone, Debug, Args)]
pub struct OfLab {
    /// Folder of the lab.
    #[arg(long, env = "EVENKEEL_LAB", hide_env_values = true, value_name = "DIR")]
    dir: PathBuf,
}

/// Which node of which lab.
#[derive(Clone, Debug, Args)]
pub struct OfNode {
    /// The node.
    node: NodeName,
    #[command(flatten)]
    lab: OfLab,
}

/// Options of `lab fault`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = fault_table())]
pub struct FaultArgs {
    /// The fault.
    #[arg(required_unless_present = "list", value_name = "FAULT", value_parser = parse_fault)]
    fault: Option<Fault>,
    /// The node.
    #[arg(required_unless_present = "list")]
    node: Option<NodeName>,
    /// Take the fault off.
    #[arg(long)]
    clear: bool,
    /// List all faults.
    #[arg(long)]
    list: bool,
    /// Folder of the lab.
    #[arg(
        long,
        env = "EVENKEEL_LAB",
        hide_env_values = true,
        value_name = "DIR",
        required_unless_present = "list"
    )]
    dir: Option<PathBuf>,
}

fn parse_fault(name: &str) -> Result<Fault, String> {
    name.parse::<Fault>()
        .map_err(|error| format!("{error}; `evenkeel lab fault --list` names all there are"))
}

/// Every fault and what it does.
pub fn fault_table() -> String {
    let mut text = String::from("Faults:\n");
    for fault in Fault::ALL {
        text.push_str(&format!("  {fault:20} {}\n", fault.description()));
    }
    text
}

fn fault_list() -> Result<String> {
    let faults = Fault::ALL.iter().map(
        |fault| serde_json::json!({"fault": fault.to_string(), "description": fault.description()}),
    );
    let faults: Vec<_> = faults.collect();
    Ok(serde_json::to_string_pretty(&faults)? + "\n")
}

impl LabCommand {
    /// Does what was typed. `json` asks for objects instead of tables.
    ///
    /// `RunDaemon` must be handled by a process without other threads' children to lose: it does not
    /// return unless it fails.
    pub async fn run(self, tools: &dyn Tools, json: bool) -> Result<()> {
        let act = async |of: OfNode, request: fn(NodeName) -> ControlRequest| {
            Control::new(&of.lab.dir)?.act(&request(of.node)).await
        };
        match self {
            Self::Up(args) => run_up(args, tools).await,
            Self::Status(lab) => {
                let status = Control::new(&lab.dir)?.status().await?;
                if json {
                    say(&(serde_json::to_string_pretty(&status)? + "\n"))
                } else {
                    say(&status.table())
                }
            }
            Self::Down(lab) => Control::new(&lab.dir)?.down().await,
            Self::Fault(args) => run_fault(args, json).await,
            Self::Firmware { out, size } => write_firmware(&out, size),
            Self::PowerOn(of) => {
                act(of, |node| ControlRequest::Fault {
                    node,
                    fault: Fault::PowerOff,
                    on: false,
                })
                .await
            }
            Self::Takeover(of) => act(of, |node| ControlRequest::TakeOver { node }).await,
            Self::Giveback(of) => act(of, |node| ControlRequest::GiveBack { node }).await,
            Self::Kill(of) => act(of, |node| ControlRequest::Kill { node }).await,
            Self::Reset(of) => act(of, |node| ControlRequest::Reset { node }).await,
            Self::Events { lab, since } => {
                let mut lines = String::new();
                for event in Control::new(&lab.dir)?.events(since).await? {
                    lines += &serde_json::to_string(&event)?;
                    lines.push('\n');
                }
                say(&lines)
            }
            Self::Probe { lab, duration } => run_probe(lab, duration).await,
            Self::LifServer { node } => {
                log_to_stderr();
                let orders = tokio::io::BufReader::new(tokio::io::stdin());
                lif::serve(node.as_str(), orders).await
            }
            Self::RunDaemon { parent, command } => {
                let (program, arguments) = command.split_first().context("no daemon was named")?;
                run_guarded(parent, program.as_ref(), arguments)
            }
        }
    }
}

fn write_firmware(out: &Path, size: u32) -> Result<()> {
    let writing = |file: &Path| format!("cannot write {}", file.display());
    fs::create_dir_all(out).with_context(|| writing(out))?;
    for (name, content) in newer_firmware(size as usize) {
        let file = out.join(name);
        fs::write(&file, content).with_context(|| writing(&file))?;
        say(&format!("{}\n", file.display()))?;
    }
    Ok(())
}

async fn run_up(args: Up, tools: &dyn Tools) -> Result<()> {
    let program = std::env::current_exe().context("where is this program?")?;
    let evenkeeld = match args.evenkeeld {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("{}", path.display()))?,
        None => program.with_file_name("evenkeeld"),
    };
    if !evenkeeld.is_file() {
        bail!(
            "there is no evenkeeld at {}; say --evenkeeld PATH",
            evenkeeld.display()
        );
    }
    let options = UpOptions {
        dir: args.lab.dir,
        nodes: args.nodes,
        sites: args.sites,
        disks: args.disks,
        minute: args.minute,
        address: args.address,
        scrub_every: args.scrub_every,
        package_rate: args.package_rate,
        evenkeeld,
        program,
        image: args.image,
    };
    log_to_stderr();
    let folder = options.dir.display();
    eprintln!(
        "bringing a lab up in {folder}; each node's log is in nodes/NAME/evenkeeld.log there"
    );
    let stop = interrupted()?;
    // The lab runs on whether or not somebody still reads.
    up(options, tools, stop, || drop(say("ready\n"))).await
}

fn parse_nodes(text: &str) -> Result<usize, String> {
    let nodes = text.parse().map_err(|error| format!("{error}"))?;
    check_nodes(nodes).map_err(|error| error.to_string())
}

fn parse_loopback(text: &str) -> Result<String, String> {
    parse_address(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("{error:#}"))
}

/// Prints to standard output. A reader that went away (`| head`) has read enough.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot print"),
    }
}

/// Trouble of the supervisor itself, for whoever looks at the terminal.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("EVENKEEL_LAB_LOG").unwrap_or_else(|_| "warn".into());
    let logging = tracing_subscriber::fmt().with_writer(std::io::stderr);
    // A caller that logs already is right.
    logging.with_env_filter(filter).try_init().ok();
}

/// Ends with SIGINT or SIGTERM.
fn interrupted() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn run_fault(args: FaultArgs, json: bool) -> Result<()> {
    if args.list {
        return match json {
            true => say(&fault_list()?),
            false => say(&fault_table()),
        };
    }
    let (Some(fault), Some(node), Some(dir)) = (args.fault, args.node, args.dir) else {
        bail!("say which fault, on which node, of which lab");
    };
    let on = !args.clear;
    Control::new(&dir)?
        .act(&ControlRequest::Fault { node, fault, on })
        .await
}

async fn run_probe(lab: OfLab, duration: Option<Duration>) -> Result<()> {
    let stop = interrupted()?;
    let probe = Probe::start(&lab.dir)?;
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop => {}
        () = over => {}
    }
    let report = probe.finish().await;
    say(&(serde_json::to_string_pretty(&report)? + "\n"))
}
