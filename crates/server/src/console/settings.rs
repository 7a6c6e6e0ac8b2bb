//! The version and settings of this server.

use askama::Template;
use axum::extract::State;

use super::{
    Answer, Shared,
    page::{Frame, html},
    session::Visitor,
    show::Time,
};
use crate::options::{Origin, SettingInForce};

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    version: String,
    commit: String,
    store: &'static str,
    started: Time,
    nodes: usize,
    node: u16,
    settings: Vec<Row>,
}

struct Row {
    name: String,
    values: Vec<String>,
    origin: String,
    is_default: bool,
}

/// The page.
pub(super) async fn show(State(console): Shared, visitor: Visitor) -> Answer {
    console.enter_installation(&visitor)?;
    let view = console.app.get_installation(visitor.caller()).await?;
    let page = SettingsPage {
        frame: Frame::new(&console, &visitor, "settings", "Configuration"),
        version: view.version.to_owned(),
        commit: view.commit.to_owned(),
        store: if view.shared_store {
            "PostgreSQL, shared by all nodes"
        } else {
            "SQLite, this server only"
        },
        started: Time(view.started_at),
        nodes: view.nodes,
        node: view.node,
        settings: view.settings.iter().map(row).collect(),
    };
    Ok(html(&page))
}

fn row(setting: &SettingInForce) -> Row {
    Row {
        name: setting.name.clone(),
        values: setting
            .values
            .iter()
            .filter(|value| !value.is_empty())
            .cloned()
            .collect(),
        origin: match &setting.origin {
            Origin::Default => "default".to_owned(),
            Origin::File(path) => format!("file {path}"),
            Origin::Environment(variable) => format!("environment {variable}"),
            Origin::Flag(flag) => format!("flag {flag}"),
        },
        is_default: setting.origin == Origin::Default,
    }
}
