//! What may be typed.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use evenkeel_lab::LabCommand;
use evenkeel_model::{GateCondition, Role};

use crate::demo::DemoArgs;
use crate::firmware::FirmwareCommand;
use crate::package::PackageCommand;

/// Upgrades storage controllers while they serve.
#[derive(Parser)]
#[command(name = "evenkeel", version, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 paused.")]
pub(crate) struct Cli {
    /// Print the API's object instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster, and as whom.
#[derive(Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// Folder of a lab: address, user and CA are read from its lab.json. Beside it only --url may be given, for one of
    /// its nodes.
    #[arg(
        long,
        global = true,
        env = "EVENKEEL_LAB",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub(crate) lab: Option<PathBuf>,
    /// Address of the cluster, for example https://cluster1.
    #[arg(long, global = true, env = "EVENKEEL_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// A cluster by the name that `profile add` gave it; without any cluster named, the profile "default". What is
    /// typed beside it counts more; EVENKEEL_URL, EVENKEEL_USER, EVENKEEL_PASSWORD_FILE and EVENKEEL_CA do not count.
    #[arg(
        long,
        global = true,
        env = "EVENKEEL_PROFILE",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub(crate) profile: Option<String>,
    /// User of the REST API.
    #[arg(long, global = true, env = "EVENKEEL_USER", hide_env_values = true)]
    pub(crate) user: Option<String>,
    /// File whose first line is the password; without it, it is asked for.
    #[arg(
        long,
        global = true,
        env = "EVENKEEL_PASSWORD_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(crate) password_file: Option<PathBuf>,
    /// PEM file of a client certificate, which lets its user in instead of a password.
    #[arg(long, global = true, value_name = "FILE", requires = "client_key")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "client_certificate"
    )]
    pub(crate) client_key: Option<PathBuf>,
    /// PEM file with the certificates to trust; this machine's own without it.
    #[arg(
        long,
        global = true,
        env = "EVENKEEL_CA",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(crate) ca: Option<PathBuf>,
    /// Do not verify who answers. Whoever sits between here and the cluster can then read the password and do as
    /// you: only for a look at a cluster that nothing depends on.
    // Never from the environment: it would be forgotten there.
    #[arg(long, global = true, conflicts_with = "ca")]
    pub(crate) insecure: bool,
    /// Speak, as root on a controller, to its own daemon through its socket. For `user`, `certificate` and
    /// `audit` only; `cluster` always does.
    #[arg(
        long,
        global = true,
        value_name = "SOCKET",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = crate::local::SOCKET
    )]
    pub(crate) local: Option<PathBuf>,
}

impl ClusterArgs {
    /// With a profile or a lab named, what the environment says of a cluster is about some other one: neither may its
    /// address get the profile's password, nor its user or CA be taken for the profile's. In the same way a lab that
    /// is typed counts more than a profile of the environment; a lab of the environment counts less than a profile, and
    /// less than an address with a user.
    pub(crate) fn prefer_what_is_named(&mut self, is_from_environment: impl Fn(&str) -> bool) {
        let is_lab_typed = self.lab.is_some() && !is_from_environment("lab");
        if is_lab_typed && is_from_environment("profile") {
            self.profile = None;
        }
        let is_named = is_lab_typed || self.profile.is_some();
        if is_named && is_from_environment("url") {
            self.url = None;
        }
        if is_named || (self.lab.is_some() && self.url.is_none()) {
            self.forget_who_asks(is_from_environment);
        }
        let is_elsewhere =
            self.profile.is_some() || (self.url.is_some() && !self.beside_a_lab().is_empty());
        if !is_lab_typed && is_elsewhere {
            self.lab = None;
        }
    }

    /// As far as the environment says it.
    fn forget_who_asks(&mut self, is_from_environment: impl Fn(&str) -> bool) {
        if is_from_environment("user") {
            self.user = None;
        }
        if is_from_environment("password_file") {
            self.password_file = None;
        }
        if is_from_environment("ca") {
            self.ca = None;
        }
    }

    /// The options that are given and that a lab has of its own: who asks, and how that is known.
    pub(crate) fn beside_a_lab(&self) -> Vec<&'static str> {
        let options = [
            ("--profile", self.profile.is_some()),
            ("--user", self.user.is_some()),
            ("--password-file", self.password_file.is_some()),
            ("--client-certificate", self.client_certificate.is_some()),
            ("--ca", self.ca.is_some()),
            ("--insecure", self.insecure),
        ];
        let given = options.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(name, _)| name).collect()
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The nodes of the cluster: begin one, join, leave. Asks this controller's own daemon, as root.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Software images: packages, validation, updates.
    #[command(subcommand)]
    Image(Image),
    /// Make and examine software packages.
    #[command(subcommand)]
    Package(PackageCommand),
    /// Firmware of disks, shelves, SPs and BMCs, and the disk qualification package.
    #[command(subcommand)]
    Firmware(FirmwareCommand),
    /// A cluster of real daemons on this machine, with simulated hardware.
    #[command(subcommand)]
    Lab(Lab),
    /// Jobs of the REST API.
    #[command(subcommand)]
    Job(Job),
    /// Who may use the cluster's API, and for what.
    #[command(subcommand)]
    User(UserCommand),
    /// What a node shows to those who connect to its API.
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// Show who asked for which change, from where, and what became of it.
    Audit(AuditArgs),
    /// Clusters and how to be let in, by name, kept in ~/.config/evenkeel/profiles.toml.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Print what completes this command's words in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Say what every open operation waits for, since when, until when, and what would end the wait.
    Explain,
    /// Print what happened, as JSON lines.
    Events {
        /// Go on printing as it happens.
        #[arg(long)]
        follow: bool,
        /// Begin after this sequence number.
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        since: u64,
    },
}

#[derive(Subcommand)]
pub(crate) enum Lab {
    /// Show the whole way once: a four-node lab, two signed packages, an update with live progress.
    Demo(DemoArgs),
    #[command(flatten)]
    Lab(LabCommand),
}

#[derive(Subcommand)]
pub(crate) enum Image {
    /// The cluster's package repository.
    #[command(subcommand)]
    Package(ImagePackage),
    /// The keys that packages are signed with.
    #[command(subcommand)]
    Key(ImageKey),
    /// What an update waits for between nodes, beyond the timer.
    #[command(subcommand)]
    Gates(ImageGates),
    /// Let a warning that the newest checks gave pass, as long as it is about nothing more.
    Acknowledge {
        /// Name of the check.
        check: String,
        /// Why it may be so: shown with the warning.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show which warnings are acknowledged, by whom and why.
    Acknowledgements {
        /// Take the acknowledgement of this check's warning back.
        #[arg(long, value_name = "CHECK")]
        withdraw: Option<String>,
    },
    /// Run the checks of an update without updating.
    Validate {
        /// Version of a package in the repository.
        version: String,
    },
    /// Show what an update would do, how long it would take, and which pairs stand on one controller when.
    /// Nothing runs.
    Plan(PlanArgs),
    /// Roll the cluster to a version.
    Update(Update),
    /// Pause the update at the next pause point.
    PauseUpdate,
    /// Go on with a paused update.
    ResumeUpdate {
        /// Show progress until the update has ended or paused.
        #[arg(long)]
        watch: bool,
    },
    /// End a paused update.
    CancelUpdate,
    /// Show the installed versions and the state of the update.
    Show,
    /// Show the update phase by phase and node by node.
    ShowUpdateProgress,
    /// Show which node was updated when.
    ShowUpdateHistory,
    /// Draw the update under way, or the last one, from its events.
    Timeline,
}

#[derive(Subcommand)]
pub(crate) enum ImagePackage {
    /// Send a package to the cluster.
    Upload {
        /// The package's file.
        file: PathBuf,
    },
    /// Show which packages are on their way to which node.
    Transfers {
        /// Go on showing it until nothing is on its way.
        #[arg(long)]
        watch: bool,
    },
    /// Bring a package into the repository, from a file here or from a server.
    Get(Get),
    /// Show the download under way, or the last one.
    ShowDownload,
    /// List the packages.
    ShowRepository,
    /// Remove a package from every node.
    Delete {
        /// Its version.
        version: String,
    },
    /// Show or set how many packages that nothing needs are kept; all of them unless set.
    Retention(RetentionArgs),
}

#[derive(Args)]
pub(crate) struct RetentionArgs {
    /// Keep the newest N, beside those that a node runs or could fall back to.
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<u32>,
    /// Keep all.
    #[arg(long, conflicts_with = "keep")]
    pub(crate) off: bool,
}

#[derive(Subcommand)]
pub(crate) enum ImageGates {
    /// Show them.
    Show,
    /// Change them, for updates that are planned from now on; what is not given stays.
    Set(GatesArgs),
}

#[derive(Args)]
pub(crate) struct GatesArgs {
    /// A condition that must hold before the next node's turn: `paths-back`, `resync-done`, `lifs-home`,
    /// `load-below=PERCENT` or `script` (see `gate_script` in evenkeeld.toml). May be given more than once;
    /// those that are not given are taken off.
    #[arg(long = "condition", value_name = "NAME")]
    pub(crate) conditions: Vec<GateCondition>,
    /// Wait for no condition.
    #[arg(long, conflicts_with = "conditions")]
    pub(crate) off: bool,
    /// Minutes for which all conditions must hold without a break; 2 unless set.
    #[arg(long, value_name = "MINUTES")]
    pub(crate) hold: Option<u32>,
    /// Minutes after which the update pauses instead; 60 unless set.
    #[arg(long, value_name = "MINUTES")]
    pub(crate) longest: Option<u32>,
}

#[derive(Subcommand)]
pub(crate) enum ImageKey {
    /// List the keys, those that were revoked too.
    List,
    /// Accept packages signed with a key from now on.
    Trust {
        /// The public-key file.
        file: PathBuf,
        /// What to call it.
        #[arg(long)]
        name: Option<String>,
    },
    /// Refuse packages signed with a key from now on, for good.
    Revoke {
        /// The key's id.
        id: String,
    },
}

#[derive(Args)]
pub(crate) struct Get {
    /// The package's file, or its address: http://, https:// or ftp://. The cluster fetches from an address by
    /// itself.
    #[arg(value_name = "FILE|URL")]
    pub(crate) source: String,
    /// User on the server that the address names.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_user: Option<String>,
    /// File whose first line is that user's password.
    #[arg(long, value_name = "FILE", requires = "server_user")]
    pub(crate) server_password_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Update {
    /// Version of a package in the repository.
    pub(crate) version: String,
    /// Go on although checks warn.
    #[arg(long)]
    pub(crate) skip_warnings: bool,
    #[command(flatten)]
    pub(crate) options: UpdateOptions,
    /// Where to pause unasked.
    #[arg(long, value_enum)]
    pub(crate) pause_after: Option<PauseAfter>,
    /// Show progress until the update has ended or paused.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Only estimate how long it would take. Nothing is touched; the estimate is kept.
    #[arg(long, conflicts_with_all = ["watch", "pause_after"])]
    pub(crate) estimate_only: bool,
}

#[derive(Args)]
pub(crate) struct PlanArgs {
    /// Version of a package in the repository.
    pub(crate) version: String,
    #[command(flatten)]
    pub(crate) options: UpdateOptions,
    /// Take no warning for a reason to refuse the update.
    #[arg(long)]
    pub(crate) skip_warnings: bool,
}

/// Which nodes, in which order, how slowly.
#[derive(Args, Default)]
pub(crate) struct UpdateOptions {
    /// Minutes to hold still after each takeover and each giveback.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) stabilize_minutes: Option<u32>,
    /// Update these nodes only: whole HA pairs.
    // An empty one is a script's unset variable, never all nodes.
    #[arg(
        long,
        value_name = "NODE,NODE",
        value_delimiter = ',',
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub(crate) nodes: Vec<String>,
    /// One node after the other, also with eight nodes and more.
    #[arg(long)]
    pub(crate) force_rolling: bool,
    /// The pair of this node goes first.
    #[arg(long, value_name = "NODE")]
    pub(crate) first_pair: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PauseAfter {
    None,
    TakeoverGiveback,
    All,
}

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// List the users.
    List,
    /// Add a user. Its password is asked for, or read from standard input where that is no terminal.
    Create(NewUser),
    /// Change what a user may do.
    Role {
        /// The user.
        name: String,
        /// `admin`, `stager` or `readonly`.
        role: Role,
    },
    /// Change a user's password. Everybody may change their own.
    Password {
        /// The user.
        name: String,
        /// File whose first line is the new password.
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Say whether a client certificate in its name lets the user in.
    Certificate {
        /// The user.
        name: String,
        /// Whether it does.
        login: OnOff,
    },
    /// Remove a user.
    Delete {
        /// The user.
        name: String,
    },
}

#[derive(Args)]
pub(crate) struct NewUser {
    /// Its name.
    pub(crate) name: String,
    /// `admin` may do everything; `stager` brings packages in, validates and estimates; `readonly` looks.
    #[arg(long)]
    pub(crate) role: Role,
    /// File whose first line is its password.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_password_file: Option<PathBuf>,
    /// Let it in with a client certificate in its name.
    #[arg(long)]
    pub(crate) certificate: bool,
    /// Give it no password.
    #[arg(long, requires = "certificate", conflicts_with = "new_password_file")]
    pub(crate) no_password: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum OnOff {
    On,
    Off,
}

#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the cluster as this node knows it, and what this node is to it.
    Show,
    /// Begin a cluster, with this node as its first and an admin as its first user.
    Init(InitArgs),
    /// Make a token that lets one node in. It is good once, for an hour; whoever has it can join.
    Token(TokenArgs),
    /// Join the cluster that a token is of, with this node. Safe to repeat.
    Join(JoinArgs),
    /// Take nodes out: both of a pair, or one of a cluster of two. They must serve nothing any more.
    Remove {
        /// Which.
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        /// You have seen that each of them that does not answer is off, and stays off.
        #[arg(long)]
        yes_it_is_gone: bool,
    },
    /// Make a token for a machine that takes the place of a broken one, under its name.
    ReplaceNode {
        /// The broken one.
        node: String,
        /// You have seen that it is off, and stays off.
        #[arg(long)]
        yes_it_is_gone: bool,
    },
    /// Renew this node's certificate now. The daemon does so itself when a third of its time is left.
    RenewCertificates,
}

/// What the node's configuration does not say.
#[derive(Args)]
pub(crate) struct NodeArgs {
    /// Hardware platform: packages for another one are refused.
    #[arg(long)]
    pub(crate) platform: String,
    /// Variant of the platform, where it has any.
    #[arg(long)]
    pub(crate) variant: Option<String>,
    /// A feature in use here, which packages must support; may be given several times.
    #[arg(long = "feature", value_name = "FEATURE")]
    pub(crate) features: Vec<String>,
    /// The site it stands at, where the cluster spans sites.
    #[arg(long)]
    pub(crate) site: Option<String>,
    /// Host or IP address that the other nodes reach this one at, where it listens on all addresses.
    #[arg(long, value_name = "HOST")]
    pub(crate) address: Option<String>,
    /// A data address that is at home here; may be given several times.
    #[arg(long = "lif", value_name = "NAME=HOST:PORT")]
    pub(crate) lifs: Vec<String>,
}

#[derive(Args)]
pub(crate) struct InitArgs {
    /// Name of the cluster.
    #[arg(long)]
    pub(crate) name: String,
    /// Name of the first user.
    #[arg(long, default_value = "admin")]
    pub(crate) admin: String,
    /// File whose first line is its password; without it, it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Args)]
pub(crate) struct TokenArgs {
    /// The only node that may use it.
    #[arg(long = "for", value_name = "NODE")]
    pub(crate) node: Option<String>,
}

#[derive(Args)]
pub(crate) struct JoinArgs {
    /// The token; without it, it is asked for, or the first line of standard input.
    pub(crate) token: Option<String>,
    /// File whose first line is the token: on the command line, every user of this machine can see it.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// The HA partner it is to have, where the cluster has several pairs.
    #[arg(long, value_name = "NODE")]
    pub(crate) partner: Option<String>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Subcommand)]
pub(crate) enum CertificateCommand {
    /// Show the certificate of the node that answers.
    Show {
        /// Print it as PEM, for --ca of others.
        #[arg(long)]
        pem: bool,
    },
    /// Give the node that is asked another one; each node has its own.
    Replace {
        /// PEM file of the chain, the node's own certificate first.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// PEM file of its key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct AuditArgs {
    /// The newest N.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max: u32,
    /// Of this user only.
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum ProfileCommand {
    /// List the profiles, without their passwords.
    List,
    /// Keep --url, --user, the password, --ca, --client-certificate and --client-key under a name.
    Add {
        /// The name; "default" counts where no cluster is named.
        name: String,
        /// Keep it without trying whether it lets you in.
        #[arg(long)]
        unchecked: bool,
    },
    /// Forget a profile.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum Job {
    /// Show one job, or all.
    Show {
        /// Its id.
        uuid: Option<String>,
    },
}

/// The whole command, for generated help.
pub fn command() -> clap::Command {
    Cli::command()
}
