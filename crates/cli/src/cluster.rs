//! `evenkeel cluster`: which nodes there are, asked of this controller's own daemon through its socket.

use std::thread;
use std::time::Duration;

use evenkeel_api::{
    CLUSTER, CLUSTER_INIT, CLUSTER_JOIN, CLUSTER_REMOVE, CLUSTER_RENEW, CLUSTER_TOKEN, InitCluster,
    JoinCluster, LocalCluster, LocalNode, MadeToken, MakeToken, MembershipState, NewNode,
    RemoveNodes, Secret,
};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::{ClusterCommand, InitArgs, JoinArgs, NodeArgs, TokenArgs};
use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};
use crate::secret;
use crate::table::Table;

/// How long the daemon may take to go on as a node of its cluster: the record's follower looks every second or so.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks after which whoever waits is told what for.
const SAID_AFTER: u128 = 25;

pub(crate) fn run(client: &Client, command: &ClusterCommand, json: bool) -> Result<(), Stop> {
    match command {
        ClusterCommand::Show => show(client.get(CLUSTER)?, json),
        ClusterCommand::Init(args) => init(client, args, json),
        ClusterCommand::Token(args) => token(client, args, json),
        ClusterCommand::Join(args) => join(client, args, json),
        ClusterCommand::Remove {
            nodes,
            yes_it_is_gone,
        } => {
            let asked = RemoveNodes {
                nodes: nodes.clone(),
                is_gone: *yes_it_is_gone,
            };
            let body: Value = client.object(&Method::POST, CLUSTER_REMOVE, Some(&json!(asked)))?;
            said(
                body,
                json,
                &format!(
                    "{} left the cluster. Whoever has the disk of a machine that left has a key that signs the cluster's \
                     certificates: wipe it, or keep it as you keep the cluster's.\n",
                    nodes.join(", ")
                ),
            )
        }
        ClusterCommand::ReplaceNode {
            node,
            yes_it_is_gone,
        } => {
            let asked = MakeToken {
                node: Some(node.clone()),
                replaces: true,
                is_gone: *yes_it_is_gone,
            };
            made(client, &asked, json)
        }
        ClusterCommand::RenewCertificates => {
            let body: Value = client.object(&Method::POST, CLUSTER_RENEW, None)?;
            let cluster: LocalCluster = decode(&body)?;
            let until = cluster.certificate_until.unwrap_or_default();
            let text = format!(
                "The certificate of {} is good until {until}.\n",
                cluster.node
            );
            said(body, json, &text)
        }
    }
}

fn said(body: Value, json: bool, text: &str) -> Result<(), Stop> {
    match json {
        true => print_json(&body),
        false => print(text),
    }
}

fn new_node(args: &NodeArgs) -> NewNode {
    NewNode {
        platform: args.platform.clone(),
        variant: args.variant.clone(),
        features: args.features.clone(),
        site: args.site.clone(),
        address: args.address.clone(),
        lifs: args.lifs.clone(),
    }
}

fn init(client: &Client, args: &InitArgs, json: bool) -> Result<(), Stop> {
    let password = match &args.new_password_file {
        Some(file) => secret::first_line(file)?,
        None => secret::ask_new(&format!("Password of the first admin, {}", args.admin))?,
    };
    let asked = InitCluster {
        name: args.name.clone(),
        user: args.admin.clone(),
        password: Secret(password),
        node: new_node(&args.node),
    };
    let _: Value = client.object(&Method::POST, CLUSTER_INIT, Some(&json!(asked)))?;
    let body = settled(client)?;
    let cluster: LocalCluster = decode(&body)?;
    let text = format!(
        "Cluster {} has begun, with this node, {}. Its first user is {}.\nNext: `evenkeel cluster token` here, and \
         `evenkeel cluster join TOKEN` on its partner; `evenkeel image key trust FILE` for the packages' key.\n",
        cluster.name.as_deref().unwrap_or(&args.name),
        cluster.node,
        args.admin
    );
    said(body, json, &text)
}

fn token(client: &Client, args: &TokenArgs, json: bool) -> Result<(), Stop> {
    let asked = MakeToken {
        node: args.node.clone(),
        replaces: false,
        is_gone: false,
    };
    made(client, &asked, json)
}

fn made(client: &Client, asked: &MakeToken, json: bool) -> Result<(), Stop> {
    let body: Value = client.object(&Method::POST, CLUSTER_TOKEN, Some(&json!(asked)))?;
    if json {
        return print_json(&body);
    }
    let made: MadeToken = decode(&body)?;
    // Standard output is the token alone, so that it can be piped.
    eprintln!(
        "Good once, until {}. On the new node: evenkeel cluster join TOKEN",
        made.until
    );
    print(&format!("{}\n", made.token.0))
}

fn join(client: &Client, args: &JoinArgs, json: bool) -> Result<(), Stop> {
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => secret::first_line(file)?,
        (None, None) => secret::ask("Token")?,
    };
    let asked = JoinCluster {
        token: Secret(token),
        partner: args.partner.clone(),
        node: new_node(&args.node),
    };
    let _: Value = client.object(&Method::POST, CLUSTER_JOIN, Some(&json!(asked)))?;
    let body = settled(client)?;
    let cluster: LocalCluster = decode(&body)?;
    let own = cluster.nodes.iter().find(|it| it.name == cluster.node);
    let name = cluster.name.as_deref().unwrap_or("?");
    let partner = own.and_then(|it| it.partner.as_deref());
    let text = match (cluster.state, partner) {
        (MembershipState::Candidate, partner) => format!(
            "{} was let into cluster {name}, and waits for {}: it becomes a member together with its partner.\n",
            cluster.node,
            partner.unwrap_or("a partner that names it")
        ),
        (_, Some(partner)) => format!(
            "{} is a node of cluster {name}, the partner of {partner}.\n",
            cluster.node
        ),
        (_, None) => format!("{} is a node of cluster {name}.\n", cluster.node),
    };
    said(body, json, &text)
}

/// The cluster once the daemon has gone on as one of its nodes: it closes its socket for a moment meanwhile.
fn settled(client: &Client) -> Result<Value, Stop> {
    let mut last = "the daemon does not answer".to_owned();
    for look in 0..SETTLES_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
        match client.get::<Value>(CLUSTER) {
            Ok(body) => {
                let cluster: LocalCluster = decode(&body)?;
                last = match (cluster.state, cluster.advice) {
                    (MembershipState::Member | MembershipState::Candidate, _) => return Ok(body),
                    (MembershipState::Unknown, Some(advice)) => advice,
                    (MembershipState::None | MembershipState::Unknown, _) => {
                        "it has not read the cluster's record yet".to_owned()
                    }
                    (MembershipState::Removed | MembershipState::Replaced, _) => {
                        "the cluster has no such node any more".to_owned()
                    }
                };
            }
            Err(error) => last = error.to_string(),
        }
        if look == SAID_AFTER {
            eprintln!(
                "Waiting up to {} s for evenkeeld to go on as a node of the cluster: {last}",
                SETTLES_WITHIN.as_secs()
            );
        }
        thread::sleep(LOOK_EVERY);
    }
    Err(Stop::Failed(format!(
        "evenkeeld took what was asked for, but has not gone on as a node of the cluster within {} s: {last}. Whether anything came \
         of it is not known: look at `evenkeel cluster show` and at its log; the same command may be given again",
        SETTLES_WITHIN.as_secs()
    )))
}

fn show(body: Value, json: bool) -> Result<(), Stop> {
    if json {
        return print_json(&body);
    }
    print(&described(&decode(&body)?))
}

fn described(cluster: &LocalCluster) -> String {
    let mut text = match &cluster.name {
        Some(name) => format!(
            "Cluster {name}; this node is {} ({}).\n",
            cluster.node,
            state(cluster.state)
        ),
        None => format!(
            "This node is {} ({}).\n",
            cluster.node,
            state(cluster.state)
        ),
    };
    if let Some(advice) = &cluster.advice {
        text += &format!("{advice}\n");
    }
    if !cluster.nodes.is_empty() {
        let mut table = Table::new(&[
            "Node",
            "State",
            "Partner",
            "Answers",
            "Node to node",
            "REST",
            "Platform",
        ]);
        cluster.nodes.iter().for_each(|node| table.row(row(node)));
        text += &table.render("");
    }
    for token in &cluster.tokens {
        let whom = token.node.as_deref().unwrap_or("any node");
        let what = if token.replaces {
            ", in the place of the broken one"
        } else {
            ""
        };
        text += &format!("A token for {whom}{what} is open until {}.\n", token.until);
    }
    if let (Some(own), Some(ca)) = (&cluster.certificate_until, &cluster.ca_until) {
        text += &format!("This node's certificate is good until {own}, the CA's until {ca}.\n");
    }
    text
}

fn state(state: MembershipState) -> &'static str {
    match state {
        MembershipState::None => "belongs to no cluster",
        MembershipState::Unknown => "not known yet",
        MembershipState::Member => "member",
        MembershipState::Candidate => "candidate",
        MembershipState::Removed => "removed",
        MembershipState::Replaced => "replaced",
    }
}

fn row(node: &LocalNode) -> Vec<String> {
    let answers = match node.answers {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    vec![
        node.name.clone(),
        state(node.state).to_owned(),
        node.partner.clone().unwrap_or_else(|| "-".to_owned()),
        answers.to_owned(),
        node.interconnect.clone(),
        node.rest.clone(),
        node.platform.clone(),
    ]
}
