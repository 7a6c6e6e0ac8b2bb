use std::collections::HashMap;

use super::*;

/// A directory with a token in the data directory, another in a file, and profiles.
struct Home {
    directory: tempfile::TempDir,
}

const PROFILES: &str = "\
default_profile = \"local\"

[profiles.local]
organization = \"from-profile\"

[profiles.remote]
address = \"https://hooks.example.com:50051\"

[profiles.secret]
address = \"https://hooks.example.com:50051\"
token = \"from-profile\"
output = \"yaml\"
";

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("admin-token", "from-data-dir\n");
        write("other", "from-file\n");
        write("config.toml", PROFILES);
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn resolve(&self, args: ClientArgs, variables: &[(&str, &str)]) -> anyhow::Result<Connection> {
        let mut all = HashMap::from([
            ("HOOKWRIGHT_DATA_DIR", self.path("")),
            ("HOOKWRIGHT_CLIENT_CONFIG", self.path("config.toml")),
        ]);
        all.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Connection::resolve(args, &|name| all.get(name).cloned())
    }

    fn token(&self, args: ClientArgs, variables: &[(&str, &str)]) -> Option<String> {
        self.resolve(args, variables).unwrap().token
    }
}

fn args(line: &[&str]) -> ClientArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        client: ClientArgs,
    }
    <Line as clap::Parser>::try_parse_from([&["x"], line].concat())
        .unwrap()
        .client
}

#[test]
fn a_token_comes_from_the_nearest_place() {
    let home = Home::new();
    let file = home.path("other");
    let variable = ("HOOKWRIGHT_TOKEN", "from-environment");
    let variable_file = ("HOOKWRIGHT_TOKEN_FILE", file.as_str());
    let profile = ("HOOKWRIGHT_PROFILE", "secret");
    let token = |line: &[&str], variables: &[(&str, &str)]| home.token(args(line), variables).unwrap();
    assert_eq!(token(&["--token", "from-flag"], &[variable]), "from-flag");
    assert_eq!(token(&["--token-file", &file], &[variable]), "from-file");
    assert_eq!(token(&[], &[variable, variable_file, profile]), "from-environment");
    assert_eq!(token(&[], &[variable_file, profile]), "from-file");
    assert_eq!(token(&[], &[profile]), "from-profile");
    assert_eq!(token(&[], &[]), "from-data-dir");
}

#[test]
fn the_token_of_this_machine_stays_on_it() {
    let home = Home::new();
    for address in ["http://127.0.0.1:1", "http://localhost:1", "https://[::1]:1"] {
        assert!(home.token(args(&["--address", address]), &[]).is_some(), "{address}");
    }
    for address in [
        "http://10.0.0.1:1",
        "https://hooks.example.com",
        "https://localhost.example.com",
    ] {
        assert_eq!(home.token(args(&["--address", address]), &[]), None, "{address}");
    }
    assert_eq!(home.token(args(&["--profile", "remote"]), &[]), None);
}

#[test]
fn flag_environment_profile_default_in_that_order() {
    let home = Home::new();
    let none = home.resolve(args(&[]), &[]).unwrap();
    assert_eq!((none.address.as_str(), none.format), (ADDRESS_DEFAULT, Format::Table));
    assert_eq!(
        none.organization.as_deref(),
        Some("from-profile"),
        "of the default profile"
    );
    let variables = [
        ("HOOKWRIGHT_PROFILE", "secret"),
        ("HOOKWRIGHT_ADDRESS", "http://from-environment:1"),
        ("HOOKWRIGHT_ORGANIZATION", "from-environment"),
    ];
    let profile = home.resolve(args(&[]), &variables[..1]).unwrap();
    assert_eq!(profile.address, "https://hooks.example.com:50051");
    assert_eq!((profile.format, profile.organization), (Format::Yaml, None));
    let environment = home.resolve(args(&[]), &variables).unwrap();
    assert_eq!(environment.address, "http://from-environment:1");
    assert_eq!(environment.organization.as_deref(), Some("from-environment"));
    let flag = home.resolve(
        args(&["--address", "http://from-flag:1", "--profile", "local"]),
        &variables,
    );
    assert_eq!(flag.unwrap().address, "http://from-flag:1");
}

#[test]
fn a_profile_flag_comes_before_the_environment() {
    let home = Home::new();
    let variables = [
        ("HOOKWRIGHT_ADDRESS", "http://from-environment:1"),
        ("HOOKWRIGHT_TOKEN", "from-environment"),
        ("HOOKWRIGHT_ORGANIZATION", "from-environment"),
        ("HOOKWRIGHT_OUTPUT", "json"),
    ];
    let named = home.resolve(args(&["--profile", "secret"]), &variables).unwrap();
    assert_eq!(named.address, "https://hooks.example.com:50051");
    assert_eq!(named.token.as_deref(), Some("from-profile"));
    assert_eq!(named.format, Format::Yaml);
    assert_eq!(
        named.organization.as_deref(),
        Some("from-environment"),
        "the profile has none"
    );
    let flags = ["--profile", "secret", "--token", "from-flag", "--output", "table"];
    let flags = home.resolve(args(&flags), &variables).unwrap();
    assert_eq!(
        (flags.token.as_deref(), flags.format),
        (Some("from-flag"), Format::Table)
    );
}

#[test]
fn the_origin_of_a_token_is_known() {
    let home = Home::new();
    let origin = |line: &[&str], variables: &[(&str, &str)]| home.resolve(args(line), variables).unwrap().token_origin;
    let file = std::path::PathBuf::from(home.path("other"));
    let admin = std::path::PathBuf::from(home.path("admin-token"));
    let variable = ("HOOKWRIGHT_TOKEN", "x");
    assert_eq!(origin(&["--token", "x"], &[]), TokenOrigin::Given("--token"));
    assert_eq!(origin(&[], &[variable]), TokenOrigin::Given("HOOKWRIGHT_TOKEN"));
    assert_eq!(
        origin(&["--token-file", &home.path("other")], &[variable]),
        TokenOrigin::File(file)
    );
    assert_eq!(origin(&["--profile", "secret"], &[variable]), TokenOrigin::Profile);
    assert_eq!(origin(&[], &[]), TokenOrigin::DataDirectory(admin.clone()));
    std::fs::remove_file(&admin).unwrap();
    assert_eq!(origin(&[], &[]), TokenOrigin::Missing(Some(admin)));
    assert_eq!(origin(&["--profile", "remote"], &[]), TokenOrigin::Missing(None));
}

#[test]
fn errors_say_how_to_fix_them() {
    let home = Home::new();
    let refusal = |line: &[&str], variables: &[(&str, &str)]| {
        let error = home.resolve(args(line), variables).unwrap_err();
        assert!(error.is::<UsageError>(), "{error:#}");
        error.to_string()
    };
    let missing = home.path("missing.toml");
    let message = refusal(&["--profile", "nobody"], &[]);
    assert!(
        message.contains("`nobody`") && message.contains("local, remote, secret"),
        "{message}"
    );
    assert!(refusal(&["--client-config", &missing], &[]).contains(&missing));
    assert!(refusal(&[], &[("HOOKWRIGHT_OUTPUT", "xml")]).contains("HOOKWRIGHT_OUTPUT must be one of table"));
    assert!(refusal(&["--timeout", "0"], &[]).contains("--timeout"));
    let nowhere = Connection::resolve(args(&["--profile", "x"]), &|_| None).unwrap_err();
    assert!(nowhere.to_string().contains("--client-config"), "{nowhere}");
    let none = Connection::resolve(args(&[]), &|_| None).unwrap();
    assert_eq!(none.address, ADDRESS_DEFAULT);
}
