use super::*;

const FILE: &str = "\
# My servers.
default_profile = \"local\" # the one on this machine

[profiles.local]
organization = \"acme\"

# Careful here.
[profiles.production]
address = \"https://hooks.example.com:50051\" # behind the VPN
token_file = \"tokens/production\"
output = \"json\"
";

fn parse(text: &str) -> anyhow::Result<ProfilesFile> {
    ProfilesFile::parse(Path::new("/home/ada/.config/hookwright/config.toml"), text)
}

fn refusal(text: &str) -> String {
    format!("{:#}", parse(text).unwrap_err())
}

#[test]
fn profiles_are_read() {
    let file = parse(FILE).unwrap();
    assert_eq!(file.names(), ["local", "production"]);
    assert_eq!(file.default_name(), Some("local"));
    let production = file.profile("production").unwrap();
    assert_eq!(production.address.as_deref(), Some("https://hooks.example.com:50051"));
    assert_eq!(
        production.token_file.as_deref(),
        Some(Path::new("/home/ada/.config/hookwright/tokens/production"))
    );
    assert_eq!(production.output, Some(Format::Json));
    let message = file.profile("staging").unwrap_err().to_string();
    assert!(
        message.contains("`staging`") && message.contains("local, production"),
        "{message}"
    );
}

#[test]
fn errors_of_the_file_are_named() {
    for (text, parts) in [
        (
            "[profiles.a]\nadress = \"x\"",
            &["profile `a`", "`adress`", "`address`"][..],
        ),
        ("default-profile = \"a\"", &["`default-profile`", "`default_profile`"]),
        ("default_profile = \"a\"", &["`a`", "does not exist"]),
        ("[profiles.a]\naddress = 1", &["`address`", "string"]),
        ("[profiles.a]\noutput = \"xml\"", &["`output`", "yaml"]),
        (
            "[profiles.a]\ntoken = \"t\"\ntoken_file = \"f\"",
            &["`token_file`", "remove one"],
        ),
        ("profiles = 1", &["[profiles.NAME]"]),
        ("[profiles]\na = 1", &["[profiles.a]"]),
        ("[profiles.a", &["line 1"]),
    ] {
        let message = refusal(text);
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

#[test]
fn edits_keep_what_people_wrote() {
    let mut file = parse(FILE).unwrap();
    file.set("production", "address", Some("https://new.example.com"))
        .unwrap();
    file.set("production", "output", None).unwrap();
    file.set("staging", "address", Some("http://10.0.0.1:50051")).unwrap();
    file.set_default(Some("staging")).unwrap();
    let text = file.document.to_string();
    for kept in [
        "# My servers.",
        "# Careful here.",
        "default_profile = \"staging\" # the one on this machine",
        "address = \"https://new.example.com\" # behind the VPN",
        "[profiles.staging]\naddress = \"http://10.0.0.1:50051\"",
    ] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    assert!(!text.contains("output"), "{text}");
    assert!(file.remove("local") && !file.remove("local"));
    assert_eq!(
        parse(&file.document.to_string()).unwrap().names(),
        ["production", "staging"]
    );
    assert!(file.set_default(Some("nobody")).is_err());
    assert!(file.set("a b", "address", Some("x")).is_err());
}

#[test]
fn an_empty_file_gets_its_first_profile() {
    let mut file = parse("").unwrap();
    file.set("local", "organization", Some("acme")).unwrap();
    assert_eq!(file.document.to_string(), "[profiles.local]\norganization = \"acme\"\n");
}

#[test]
fn it_is_written_for_its_owner_alone_and_through_links() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real.toml");
    let link = directory.path().join("link.toml");
    fs::write(&real, "").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut file = ProfilesFile::read(&link).unwrap();
    file.set("a", "token", Some("secret")).unwrap();
    file.save().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    let file = ProfilesFile::read(&link).unwrap();
    assert!(!file.exposes_token());
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(file.exposes_token());

    let deep = directory.path().join("new/hookwright/config.toml");
    let mut file = ProfilesFile::read(&deep).unwrap();
    file.set("a", "address", Some("http://h:1")).unwrap();
    file.save().unwrap();
    let mode = fs::metadata(deep.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_file_is_found_where_xdg_says() {
    let at = |flag: Option<&str>, environment: Environment<'_>| locate(flag.map(PathBuf::from), environment);
    let home = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
    let all = |name: &str| match name {
        "HOOKWRIGHT_CLIENT_CONFIG" => Some("named.toml".to_owned()),
        "XDG_CONFIG_HOME" => Some("/xdg".to_owned()),
        _ => home(name),
    };
    let xdg = |name: &str| (name != "HOOKWRIGHT_CLIENT_CONFIG").then(|| all(name)).flatten();
    let path = PathBuf::from;
    assert_eq!(at(Some("flag.toml"), &all), Some((path("flag.toml"), true)));
    assert_eq!(at(None, &all), Some((path("named.toml"), true)));
    assert_eq!(at(None, &xdg), Some((path("/xdg/hookwright/config.toml"), false)));
    assert_eq!(
        at(None, &home),
        Some((path("/home/ada/.config/hookwright/config.toml"), false))
    );
    assert_eq!(at(None, &|_| None), None);
}
