//! Profiles: named connection settings.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::shell::{Shell, text};
use crate::support::{Installation, On};

const FILE: &str = ".config/hookwright/config.toml";

#[tokio::test]
async fn a_profile_stands_between_environment_and_default() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.create_organization("globex").await;
    let address = format!("http://{}", installation.server.grpc_address());
    let shell = Shell::new();
    let token_file = shell.path("token");
    fs::write(&token_file, installation.server.token().unwrap()).unwrap();
    let set = [
        "profiles",
        "set",
        "local",
        "--address",
        &address,
        "--token-file",
        "token",
    ];
    shell
        .text(&[&set[..], &["--organization", "acme", "--output", "json"]].concat())
        .await;
    shell
        .text(&["profiles", "set", "wrong", "--address", "http://127.0.0.1:1"])
        .await;

    let unnamed = shell.run(&["webhooks", "list"]).await;
    assert_eq!(unnamed.status.code(), Some(2), "no profile is the default one yet");
    assert!(
        text(&unnamed.stderr).contains("profiles set NAME --organization"),
        "{}",
        text(&unnamed.stderr)
    );

    // The profile provides everything that no flag sets: address, token, organization and format.
    let listed = shell.text(&["--profile", "local", "webhooks", "list"]).await;
    assert_eq!(listed.trim(), "{}", "an empty list of acme's, as JSON");
    shell.text(&["profiles", "use", "local"]).await;
    assert_eq!(shell.text(&["webhooks", "list"]).await, listed, "the default one");
    let table = shell.text(&["webhooks", "list", "--output", "table"]).await;
    assert!(table.contains("organizations/acme has no webhooks"), "{table}");
    let of_flag = shell
        .text(&["webhooks", "list", "--organization", "globex", "--output", "table"])
        .await;
    assert!(of_flag.contains("organizations/globex"), "{of_flag}");

    let link = shell.text(&["portal", "link", "--output", "json"]).await;
    assert!(link.contains("portalLinks/"), "of the profile's organization: {link}");

    // The environment takes precedence over a profile, and a flag over the environment.
    let shell = shell.with("HOOKWRIGHT_PROFILE", "wrong");
    assert!(
        shell
            .failure(1, &["nodes", "list"])
            .await
            .contains("http://127.0.0.1:1")
    );
    shell.text(&["nodes", "list", "--profile", "local"]).await;
    let shell = shell
        .with("HOOKWRIGHT_ADDRESS", &address)
        .with("HOOKWRIGHT_TOKEN", &installation.server.token().unwrap())
        .with("HOOKWRIGHT_ORGANIZATION", "globex");
    let of_environment = shell.text(&["webhooks", "list"]).await;
    assert!(of_environment.contains("organizations/globex"), "{of_environment}");
    assert!(
        shell
            .failure(1, &["nodes", "list", "--address", "http://127.0.0.1:2"])
            .await
            .contains(":2")
    );
}

#[tokio::test]
async fn the_commands_keep_the_file_as_people_wrote_it() {
    let shell = Shell::new();
    let file = shell.path(FILE);
    let set = [
        "profiles",
        "set",
        "production",
        "--address",
        "https://hooks.example.com",
    ];
    shell.text(&[&set[..], &["--token", "tok_secret"]].concat()).await;
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600,
        "it holds a token"
    );
    let written = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("# Mine.\n{written}# The end.\n")).unwrap();

    shell
        .text(&["profiles", "set", "staging", "--address", "http://10.0.0.1:50051"])
        .await;
    shell.text(&["profiles", "use", "staging"]).await;
    shell
        .text(&[
            "profiles",
            "set",
            "production",
            "--organization",
            "acme",
            "--unset",
            "address",
        ])
        .await;
    let kept = fs::read_to_string(&file).unwrap();
    for part in [
        "# Mine.\n",
        "# The end.",
        "default_profile = \"staging\"",
        "organization = \"acme\"",
    ] {
        assert!(kept.contains(part), "{part}: {kept}");
    }
    assert!(!kept.contains("hooks.example.com"), "{kept}");

    let list = shell.json(&["profiles", "list"]).await;
    assert_eq!(list, shell.yaml(&["profiles", "list"]).await);
    assert_eq!(list["profiles"][1]["name"], "staging");
    assert_eq!(list["profiles"][1]["default"], true);
    let table = shell.text(&["profiles", "list"]).await;
    assert!(table.contains("staging*"), "{table}");
    let shown = shell.json(&["profiles", "show", "production"]).await;
    assert_eq!(shown["token"], "(set, not shown)");
    let shown = shell.yaml(&["profiles", "show", "production", "--show-token"]).await;
    assert_eq!(shown["token"], "tok_secret");
    let shown = shell.text(&["profiles", "show"]).await;
    assert!(shown.contains("http://10.0.0.1:50051"), "the default one: {shown}");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let output = shell.run(&["profiles", "list"]).await;
    assert!(text(&output.stderr).contains("chmod 600"), "{}", text(&output.stderr));
    shell.text(&["profiles", "remove", "staging"]).await;
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600,
        "writing the file corrects its mode"
    );
    let left = fs::read_to_string(&file).unwrap();
    assert!(
        !left.contains("staging"),
        "the removed profile is still the default one: {left}"
    );
}

#[tokio::test]
async fn a_mistake_in_the_file_is_named() {
    let shell = Shell::new();
    let file = shell.path("mine.toml");
    fs::write(&file, "[profiles.a]\nadress = \"http://127.0.0.1:1\"\n").unwrap();
    let path = file.to_str().unwrap();
    for command in [
        &["nodes", "list", "--client-config", path][..],
        &["profiles", "list", "--client-config", path],
        &[
            "profiles",
            "--client-config",
            path,
            "set",
            "a",
            "--organization",
            "acme",
        ],
    ] {
        let said = shell.failure(1, command).await;
        for part in ["mine.toml", "profile `a`", "`adress`", "`address`"] {
            assert!(said.contains(part), "{command:?}: {part}: {said}");
        }
    }
    assert!(
        shell
            .failure(2, &["nodes", "list", "--client-config", "none.toml"])
            .await
            .contains("none.toml")
    );
    fs::write(&file, "[profiles.a]\norganization = \"acme\"\n").unwrap();
    let unknown = shell
        .failure(2, &["nodes", "list", "--client-config", path, "--profile", "b"])
        .await;
    assert!(
        unknown.contains("no profile `b`") && unknown.contains("there are: a"),
        "{unknown}"
    );
    let said = shell.failure(2, &["profiles", "set", "a"]).await;
    assert!(said.contains("nothing to set"), "{said}");
}
