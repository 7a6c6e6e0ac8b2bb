//! `InstallationService`.

use hookwright_proto::v1::{
    GetInstallationRequest, Installation, Setting, SettingOrigin, StoreKind,
    installation_service_server::InstallationService,
};
use tonic::{Request, Response, Status};

use super::{Api, time::timestamp};
use crate::{
    app::{error::AppError, installation::InstallationView},
    options::{Origin, SettingInForce},
};

const NAME: &str = "installation";

#[tonic::async_trait]
impl InstallationService for Api {
    async fn get_installation(
        &self,
        request: Request<GetInstallationRequest>,
    ) -> Result<Response<Installation>, Status> {
        let caller = self.caller(&request)?;
        if !["", NAME].contains(&request.get_ref().name.as_str()) {
            let rule = format!("must be `{NAME}`, or empty: there is one");
            return Err(AppError::invalid("name", "INVALID_RESOURCE_NAME", rule).into());
        }
        Ok(Response::new(installation(&self.app.get_installation(&caller).await?)))
    }
}

fn installation(view: &InstallationView<'_>) -> Installation {
    let store = if view.shared_store {
        StoreKind::Postgresql
    } else {
        StoreKind::Sqlite
    };
    Installation {
        name: NAME.to_owned(),
        version: view.version.to_owned(),
        commit: view.commit.to_owned(),
        store: store.into(),
        start_time: Some(timestamp(view.started_at)),
        node_count: i32::try_from(view.nodes).unwrap_or(i32::MAX),
        node: format!("nodes/{}", view.node),
        settings: view.settings.iter().map(setting).collect(),
    }
}

fn setting(setting: &SettingInForce) -> Setting {
    let (origin, source) = match &setting.origin {
        Origin::Default => (SettingOrigin::Default, ""),
        Origin::File(path) => (SettingOrigin::File, path.as_str()),
        Origin::Environment(variable) => (SettingOrigin::Environment, variable.as_str()),
        Origin::Flag(flag) => (SettingOrigin::Flag, flag.as_str()),
    };
    Setting {
        name: setting.name.clone(),
        values: setting.values.clone(),
        origin: origin.into(),
        source: source.to_owned(),
        list: setting.list,
    }
}
