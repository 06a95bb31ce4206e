//! Makes a lab's folder: certificates, keys, configurations, the first image of every node.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use evenkeel_model::{
    Bootstrap, ClusterSettings, DownloadSettings, InterconnectSettings, LabSettings, NodeConfig,
    NodeSettings, PlatformName, PlatformSettings, RecordSettings, RestSettings, Slot,
    UpdateSettings, UploadSettings, UserName,
};
use evenkeel_seam::RandomIds;

use crate::addresses::require_free;
use crate::certs;
use crate::durable::replace;
use crate::layout::Layout;
use crate::settings::{Asked, PLATFORM, Settings, USER};
use crate::slot_image::read_image;

/// What a lab needs of the package format. The lab itself knows only folders.
pub trait Tools: Send + Sync {
    /// Makes a signing key pair: the private half at `secret`, the public one at `secret` + `.pub`.
    fn make_keys(&self, secret: &Path) -> Result<()>;
    /// Fills the first slot of a new node: a whole, marked image. Called once for each node.
    fn first_image(&self, request: &FirstImage) -> Result<()>;
}

/// What a new node is to boot.
#[derive(Clone, Debug)]
pub struct FirstImage {
    /// The package to install; none when the tools choose.
    pub package: Option<PathBuf>,
    /// Folder of the slot. It does not exist yet.
    pub slot: PathBuf,
    /// The lab's signing key.
    pub signing_key: PathBuf,
    /// Its public half.
    pub public_key: PathBuf,
    /// The hardware that the package must be for.
    pub platform: PlatformName,
    /// The `evenkeeld` that the lab runs where an image brings none.
    pub evenkeeld: PathBuf,
    /// A folder for whatever is needed on the way; the same for all nodes.
    pub scratch: PathBuf,
}

/// Everything that exists before the first process starts.
pub(crate) struct Prepared {
    pub(crate) settings: Settings,
    /// It was made by this call.
    pub(crate) new: bool,
}

/// Makes the lab, or takes it up where it was left. The caller holds the lab's lock.
pub(crate) async fn prepare(
    layout: &Layout,
    asked: &Asked,
    tools: &dyn Tools,
    image: Option<PathBuf>,
    evenkeeld: &Path,
) -> Result<Prepared> {
    let existing = read_settings(layout)?;
    let new = existing.is_none();
    let settings = match existing {
        Some(mut settings) => {
            settings.follow(layout.dir(), asked)?;
            settings
        }
        None => Settings::make(layout.dir(), asked, &RandomIds)?,
    };
    for address in addresses(&settings) {
        require_free(&address).await?;
    }
    if new {
        make_keys(layout, tools)?;
        first_images(layout, &settings, tools, image, evenkeeld)?;
    }
    write_certificates(layout, &settings)?;
    write_configurations(layout, &settings)?;
    if new {
        write_bootstrap(layout, &settings)?;
    }
    // Last: with this file the lab exists.
    let text = serde_json::to_vec_pretty(&settings)?;
    replace(&layout.settings(), 0o600, &text).context("the lab's settings")?;
    Ok(Prepared { settings, new })
}

fn read_settings(layout: &Layout) -> Result<Option<Settings>> {
    let path = layout.settings();
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let settings = serde_json::from_slice(&bytes);
    settings.with_context(|| format!("{} is damaged", path.display()))
}

fn addresses(settings: &Settings) -> Vec<String> {
    let mut all = vec![settings.address.clone()];
    for node in &settings.topology.nodes {
        all.extend([node.rest.clone(), node.interconnect.clone()]);
        all.extend(node.lifs.iter().map(|lif| lif.address.clone()));
    }
    all
}

fn make_keys(layout: &Layout, tools: &dyn Tools) -> Result<()> {
    let (secret, public) = (layout.signing_key(), layout.public_key());
    make_parent(&secret)?;
    if !(secret.exists() && public.exists()) {
        tools.make_keys(&secret).context("the signing key")?;
    }
    ensure!(public.exists(), "no public key at {}", public.display());
    Ok(())
}

fn first_images(
    layout: &Layout,
    settings: &Settings,
    tools: &dyn Tools,
    package: Option<PathBuf>,
    evenkeeld: &Path,
) -> Result<()> {
    let scratch = layout.dir().join("first-image");
    fs::create_dir_all(&scratch)?;
    for node in settings.topology.names() {
        let slots = layout.node(node).slots();
        // An earlier start may have been cut off half-way.
        if slots.exists() {
            fs::remove_dir_all(&slots)?;
        }
        fs::create_dir_all(&slots)?;
        let slot = slots.join(Slot::A.as_str());
        let request = FirstImage {
            package: package.clone(),
            slot: slot.clone(),
            signing_key: layout.signing_key(),
            public_key: layout.public_key(),
            platform: PlatformName::new(PLATFORM)?,
            evenkeeld: evenkeeld.to_owned(),
            scratch: scratch.clone(),
        };
        tools
            .first_image(&request)
            .with_context(|| format!("the first image of {node}"))?;
        let image = read_image(&slot)?;
        ensure!(image.is_some(), "{} holds no whole image", slot.display());
    }
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

fn write_certificates(layout: &Layout, settings: &Settings) -> Result<()> {
    make_parent(&layout.ca())?;
    let ca =
        certs::open("Evenkeel lab CA", &layout.ca(), &layout.ca_key()).context("the lab's CA")?;
    // Of its own: a node's certificate is no user's.
    let name = "Evenkeel lab client CA";
    let client_ca = certs::open(name, &layout.client_ca(), &layout.client_ca_key());
    let client_ca = client_ca.context("the CA of the lab's users")?;
    client_ca.issue(USER, Vec::new(), &layout.client_certificate())?;
    for node in &settings.topology.nodes {
        let paths = layout.node(&node.name);
        make_parent(&paths.node_certificate().0)?;
        let name = node.name.as_str();
        let mut names = vec![name.to_owned(), host(&node.interconnect)];
        ca.issue(name, names.clone(), &paths.node_certificate())?;
        names.extend(["localhost".to_owned(), host(&settings.address)]);
        ca.issue(name, names, &paths.rest_certificate())?;
    }
    Ok(())
}

fn host(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']']).to_owned()
}

fn write_configurations(layout: &Layout, settings: &Settings) -> Result<()> {
    make_parent(&layout.record())?;
    for node in &settings.topology.nodes {
        let paths = layout.node(&node.name);
        fs::create_dir_all(paths.data())?;
        let text = toml::to_string(&node_settings(layout, settings, node))?;
        replace(&paths.config(), 0o600, text.as_bytes())?;
    }
    Ok(())
}

fn node_settings(layout: &Layout, settings: &Settings, node: &NodeConfig) -> NodeSettings {
    let paths = layout.node(&node.name);
    let (certificate, key) = paths.node_certificate();
    let (rest_certificate, rest_key) = paths.rest_certificate();
    NodeSettings {
        upload: UploadSettings::default(),
        update: UpdateSettings::default(),
        download: DownloadSettings::default(),
        node: node.name.clone(),
        data: paths.data(),
        rest: RestSettings {
            listen: node.rest.clone(),
            cluster_address: Some(settings.address.clone()),
            certificate: Some(rest_certificate),
            key: Some(rest_key),
            client_ca: Some(layout.client_ca()),
        },
        interconnect: InterconnectSettings {
            listen: node.interconnect.clone(),
            ca: Some(layout.ca()),
            certificate: Some(certificate),
            key: Some(key),
            package_bytes_per_second: settings.package_bytes_per_second,
        },
        record: RecordSettings::Sqlite {
            path: layout.record(),
        },
        platform: PlatformSettings::Sim {
            socket: paths.hardware_socket(),
        },
        cluster: ClusterSettings {
            bootstrap: Some(layout.bootstrap()),
        },
        lab: Some(LabSettings {
            minute_ms: settings.minute_ms,
            link: paths.link(),
            scrub_every_ms: settings.scrub_every_ms,
            allow_unsigned: false,
        }),
    }
}

fn write_bootstrap(layout: &Layout, settings: &Settings) -> Result<()> {
    let public = fs::read_to_string(layout.public_key())?;
    let hash = Argon2::default().hash_password(settings.password.as_bytes());
    let hash = hash.map_err(|error| anyhow::anyhow!("the admin's password: {error}"))?;
    let bootstrap = Bootstrap {
        topology: settings.topology.clone(),
        users: vec![(UserName::new(USER)?, hash.to_string())],
        trusted_keys: vec![public],
    };
    let text = serde_json::to_vec_pretty(&bootstrap)?;
    replace(&layout.bootstrap(), 0o600, &text).context("the cluster's first events")
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("a path in the lab has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
}
