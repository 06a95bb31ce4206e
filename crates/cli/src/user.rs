//! `evenkeel user`: who may use the cluster's API.

use std::path::Path;

use evenkeel_api::{User, Users, encode_component};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::{OnOff, UserCommand};
use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};
use crate::secret;
use crate::table::Table;

const USERS: &str = "/evenkeel/v1/users";

pub(crate) fn run(client: &Client, command: &UserCommand, json: bool) -> Result<(), Stop> {
    match command {
        UserCommand::List => list(client, json),
        UserCommand::Create(new) => {
            let mut body = json!({
                "name": new.name,
                "role": new.role.as_str(),
                "certificate": new.certificate,
            });
            if !new.no_password {
                body["password"] = new_password(new.new_password_file.as_deref(), &new.name)?;
            }
            say(client.object(&Method::POST, USERS, Some(&body))?, json)
        }
        UserCommand::Role { name, role } => {
            change(client, name, &json!({ "role": role.as_str() }), json)
        }
        UserCommand::Password {
            name,
            new_password_file,
        } => {
            let password = new_password(new_password_file.as_deref(), name)?;
            change(client, name, &json!({ "password": password }), json)
        }
        UserCommand::Certificate { name, login } => {
            let login = match login {
                OnOff::On => true,
                OnOff::Off => false,
            };
            change(client, name, &json!({ "certificate": login }), json)
        }
        UserCommand::Delete { name } => {
            let _: Value = client.object(&Method::DELETE, &path(name), None)?;
            if json {
                return print_json(&json!({}));
            }
            print(&format!("User {name} is gone.\n"))
        }
    }
}

fn path(name: &str) -> String {
    format!("{USERS}/{}", encode_component(name))
}

fn change(client: &Client, name: &str, body: &Value, json: bool) -> Result<(), Stop> {
    let user = client.object(&Method::PATCH, &path(name), Some(body))?;
    say(user, json)
}

fn say(body: Value, json: bool) -> Result<(), Stop> {
    if json {
        return print_json(&body);
    }
    let user: User = decode(&body)?;
    print(&format!(
        "User {} is {}; {}.\n",
        user.name,
        user.role,
        lets_in(&user)
    ))
}

fn list(client: &Client, json: bool) -> Result<(), Stop> {
    let body: Value = client.get(USERS)?;
    if json {
        return print_json(&body);
    }
    let users: Users = decode(&body)?;
    let mut table = Table::new(&["User", "Role", "Let in by", "Changed", "By"]);
    for user in &users.records {
        table.row([
            user.name.clone(),
            user.role.clone(),
            lets_in(user).to_owned(),
            user.changed_at.clone(),
            user.changed_by.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    print(&table.render("There is no user: root on a controller makes one, with --local."))
}

fn lets_in(user: &User) -> &'static str {
    match (user.password, user.certificate) {
        (true, true) => "password or certificate",
        (true, false) => "password",
        (false, true) => "certificate",
        (false, false) => "nothing",
    }
}

fn new_password(file: Option<&Path>, name: &str) -> Result<Value, Stop> {
    let password = match file {
        Some(file) => secret::first_line(file)?,
        None => secret::ask_new(&format!("New password of {name}"))?,
    };
    Ok(Value::String(password))
}
