//! Evenkeel's own calls.

use axum::http::Method;
use evenkeel_api::{
    Acknowledgement, Acknowledgements, Audit, Certificate, Devices, EstimateRecord, Estimates,
    EventLine, Explain, Firmware, FirmwareChange, GateChange, GateSettings, JobLink, Key, Keys,
    NewAcknowledgement, NewCertificate, NewKey, NewUser, PlanPreview, Retention, Transfers, User,
    UserChange, Users,
};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::Operation;
use super::parameters::{VERSION, flag, of_update, parameter, return_timeout};
use super::schemas::Schemas;
use crate::permit;

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = vec![
        events(schemas),
        plan(schemas),
        audit(schemas),
        put_package(schemas),
    ];
    all.extend(looked_at(schemas));
    all.extend(keys(schemas));
    all.extend(acknowledgements(schemas));
    all.extend(settings(schemas));
    all.extend(firmware(schemas));
    all.extend(users(schemas));
    all.extend(certificate(schemas));
    all
}

fn read<T: JsonSchema>(schemas: &mut Schemas, path: &str, summary: &str) -> Operation {
    Operation::new(Method::GET, path, summary).answer(200, summary, &schemas.answer::<T>())
}

fn looked_at(schemas: &mut Schemas) -> [Operation; 5] {
    const ESTIMATE: &str = "/evenkeel/v1/estimates/{uuid}";
    let why = "Why each open operation is not further along.";
    let moving = "Packages on their way to any node, and why others are not.";
    let estimate = "One of them, by its id or its job's.";
    [
        read::<Explain>(schemas, "/evenkeel/v1/explain", why),
        read::<Transfers>(schemas, "/evenkeel/v1/transfers", moving),
        read::<Devices>(
            schemas,
            "/evenkeel/v1/devices",
            "Devices that take firmware, and what they run.",
        ),
        read::<Estimates>(
            schemas,
            "/evenkeel/v1/estimates",
            "Estimates that were asked for.",
        ),
        read::<EstimateRecord>(schemas, ESTIMATE, estimate).errors(&[404]),
    ]
}

fn events(schemas: &mut Schemas) -> Operation {
    let since = json!({"type": "integer", "minimum": 0, "maximum": i64::MAX, "default": 0});
    let since = parameter("since", "The last `seq` that is known.", since);
    let follow = flag("follow", "Whether to wait for what is still to come.", true);
    Operation::new(
        Method::GET,
        "/evenkeel/v1/events",
        "Everything that was recorded.",
    )
    .query([since, follow])
    .lines("One in each line.", &schemas.answer::<EventLine>())
}

fn plan(schemas: &mut Schemas) -> Operation {
    let schema = json!({"type": "string", "pattern": VERSION});
    let mut version = parameter("version", "To which version.", schema);
    version["required"] = json!(true);
    read::<PlanPreview>(
        schemas,
        "/evenkeel/v1/plan",
        "What an update would do. Nothing runs.",
    )
    .query([version])
    .query(of_update())
    .errors(&[404, 409])
}

fn audit(schemas: &mut Schemas) -> Operation {
    let most = json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100});
    let most = parameter("max_records", "The newest so many.", most);
    let user = parameter("user", "Of this user only.", json!({"type": "string"}));
    read::<Audit>(
        schemas,
        permit::AUDIT,
        "Who asked for which change, and what became of it.",
    )
    .query([most, user])
}

fn put_package(schemas: &mut Schemas) -> Operation {
    let name = json!({"type": "string", "maxLength": 255});
    let name = parameter("file_name", "What the file is called.", name);
    let archive = json!({"type": "string", "format": "binary"});
    Operation::new(
        Method::PUT,
        permit::PACKAGES,
        "Take in a package, as it is.",
    )
    .about("A package that is refused for what it is has a job that says so.")
    .query([name, return_timeout(0)])
    .file("application/octet-stream", archive)
    .job(201, &schemas.answer::<JobLink>())
    .errors(&[409])
}

fn keys(schemas: &mut Schemas) -> [Operation; 3] {
    const KEYS: &str = "/evenkeel/v1/keys";
    const KEY: &str = "/evenkeel/v1/keys/{id}";
    let key = schemas.answer::<Key>();
    [
        read::<Keys>(schemas, KEYS, "The keys that packages are signed with."),
        Operation::new(
            Method::POST,
            KEYS,
            "Trust a key: packages signed with it are taken from now on.",
        )
        .body(schemas.body::<NewKey>())
        .answer(201, "It is trusted.", &key)
        .link("revoke", Method::DELETE, KEY, "/id"),
        Operation::new(
            Method::DELETE,
            KEY,
            "Revoke a key: packages signed with it are refused from now on.",
        )
        .answer(200, "It is revoked, for good.", &key)
        .errors(&[404, 413]),
    ]
}

fn acknowledgements(schemas: &mut Schemas) -> [Operation; 3] {
    const ALL: &str = "/evenkeel/v1/acknowledgements";
    const ONE: &str = "/evenkeel/v1/acknowledgements/{check}";
    let about = "Acknowledge a warning: it does not block while it is about nothing more.";
    let known = schemas.answer::<Acknowledgement>();
    [
        read::<Acknowledgements>(schemas, ALL, "The warnings that somebody knows of."),
        Operation::new(Method::POST, ALL, about)
            .body(schemas.body::<NewAcknowledgement>())
            .answer(201, "It is known.", &known)
            .link("withdraw", Method::DELETE, ONE, "/check")
            .errors(&[404]),
        Operation::new(
            Method::DELETE,
            ONE,
            "Withdraw an acknowledgement: the warning blocks again.",
        )
        .answer(200, "It blocks again.", &empty())
        .errors(&[404, 413]),
    ]
}

fn settings(schemas: &mut Schemas) -> [Operation; 4] {
    const RETENTION: &str = "/evenkeel/v1/retention";
    const GATES: &str = "/evenkeel/v1/gates";
    let retention = schemas.answer::<Retention>();
    let gates = schemas.answer::<GateSettings>();
    [
        read::<Retention>(
            schemas,
            RETENTION,
            "How many packages that nothing needs are kept.",
        ),
        Operation::new(
            Method::PUT,
            RETENTION,
            "Say how many packages that nothing needs are kept.",
        )
        .body(schemas.body::<Retention>())
        .answer(200, "So many are kept.", &retention),
        read::<GateSettings>(schemas, GATES, "What an update waits for between nodes."),
        Operation::new(
            Method::PATCH,
            GATES,
            "Say what an update waits for between nodes.",
        )
        .optional_body(schemas.body::<GateChange>())
        .answer(200, "What it waits for.", &gates),
    ]
}

fn firmware(schemas: &mut Schemas) -> [Operation; 3] {
    const ALL: &str = "/evenkeel/v1/firmware";
    const ONE: &str = "/evenkeel/v1/firmware/{digest}";
    let shown = schemas.answer::<Firmware>();
    let about = "To which disks firmware goes, and firmware updates that wait to begin.";
    [
        read::<Firmware>(schemas, ALL, about).link(
            "first_delete",
            Method::DELETE,
            ONE,
            "/waiting/0/digest",
        ),
        Operation::new(
            Method::PATCH,
            ALL,
            "Say whether firmware also goes to disks that hold data.",
        )
        .body(schemas.body::<FirmwareChange>())
        .answer(200, "It counts from the next firmware update on.", &shown),
        Operation::new(
            Method::DELETE,
            ONE,
            "Withdraw a firmware update that waits to begin.",
        )
        .about("Its package stays in the repository. One that has begun is canceled by its job.")
        .answer(200, "It does not begin.", &empty())
        .errors(&[404, 413]),
    ]
}

fn users(schemas: &mut Schemas) -> [Operation; 5] {
    let user = schemas.answer::<User>();
    let linked = |operation: Operation| {
        [
            ("show", Method::GET),
            ("change", Method::PATCH),
            ("delete", Method::DELETE),
        ]
        .into_iter()
        .fold(operation, |operation, (name, method)| {
            operation.link(name, method, permit::USER, "/name")
        })
    };
    [
        read::<Users>(schemas, permit::USERS, "The users."),
        linked(
            Operation::new(Method::POST, permit::USERS, "Create a user.")
                .body(schemas.body::<NewUser>())
                .answer(201, "The user.", &user)
                .errors(&[409]),
        ),
        read::<User>(schemas, permit::USER, "A user.").errors(&[404]),
        Operation::new(Method::PATCH, permit::USER, "Change a user.")
            .about("Everybody may change their own password. Whatever else needs the role `admin`.")
            .optional_body(schemas.body::<UserChange>())
            .answer(200, "The user.", &user)
            .errors(&[404, 409]),
        Operation::new(Method::DELETE, permit::USER, "Delete a user.")
            .answer(200, "The user is gone.", &empty())
            .errors(&[404, 409, 413]),
    ]
}

fn certificate(schemas: &mut Schemas) -> [Operation; 2] {
    let shown = schemas.answer::<Certificate>();
    let about = "Its certificate; 404 as long as it has none.";
    [
        read::<Certificate>(
            schemas,
            permit::CERTIFICATE,
            "The certificate of the node that answers.",
        )
        .about(about)
        .errors(&[404]),
        Operation::new(
            Method::PUT,
            permit::CERTIFICATE,
            "Give the node that answers another certificate.",
        )
        .body(schemas.body::<NewCertificate>())
        .answer(200, "It is shown from now on.", &shown)
        .errors(&[409]),
    ]
}

fn empty() -> Value {
    json!({"type": "object"})
}
