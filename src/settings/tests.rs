use std::{path::Path, time::Duration};

use clap::{Args as _, Command, FromArgMatches as _};

use super::*;

fn args(line: &[&str]) -> SettingsArgs {
    let command = SettingsArgs::augment_args(Command::new("serve").no_binary_name(true));
    SettingsArgs::from_arg_matches(&command.try_get_matches_from(line).unwrap()).unwrap()
}

fn load(line: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Effective> {
    Effective::load(&args(line), &|name| {
        variables
            .iter()
            .chain(&[("HOME", "/home/somebody")])
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn origin<'a>(effective: &'a Effective, name: &str) -> &'a Origin {
    effective.origins.get(name).unwrap_or(&Origin::Default)
}

#[test]
fn a_flag_wins_over_the_environment_which_wins_over_the_file() {
    let file = file("grpc_address = '127.0.0.1:1'\nhttp_address = '127.0.0.1:2'\nshutdown_timeout = '3s'\n");
    let path = file.path().to_str().unwrap();
    let effective = load(
        &["--config", path, "--grpc-address", "127.0.0.1:11"],
        &[
            ("HOOKWRIGHT_GRPC_ADDRESS", "127.0.0.1:21"),
            ("HOOKWRIGHT_HTTP_ADDRESS", "127.0.0.1:22"),
        ],
    )
    .unwrap();
    assert_eq!(effective.options.grpc_address.port(), 11);
    assert_eq!(effective.options.http_address.port(), 22);
    assert_eq!(effective.options.shutdown_timeout, Duration::from_secs(3));
    assert_eq!(effective.options.log_filter, "info");
    assert_eq!(
        *origin(&effective, "grpc_address"),
        Origin::Flag("--grpc-address".to_owned())
    );
    assert_eq!(
        *origin(&effective, "http_address"),
        Origin::Environment("HOOKWRIGHT_HTTP_ADDRESS".to_owned())
    );
    assert_eq!(
        *origin(&effective, "shutdown_timeout"),
        Origin::File(file.path().to_owned())
    );
    assert_eq!(*origin(&effective, "log_filter"), Origin::Default);
}

#[test]
fn a_flag_that_repeats_the_default_is_still_its_origin() {
    let effective = load(&["--log-filter", "info"], &[]).unwrap();
    assert_eq!(
        *origin(&effective, "log_filter"),
        Origin::Flag("--log-filter".to_owned())
    );
}

#[test]
fn the_file_can_be_named_by_the_environment() {
    let file = file("log_json = true\npayload_bytes_max = '1MiB'\nconcurrent_attempts_max = 7\n");
    let effective = load(&[], &[("HOOKWRIGHT_CONFIG", file.path().to_str().unwrap())]).unwrap();
    assert!(effective.options.log_json);
    assert_eq!(effective.options.payload_bytes_max, 1 << 20);
    assert_eq!(effective.options.concurrent_attempts_max, 7);
}

#[test]
fn lists_come_repeated_by_commas_and_as_arrays() {
    let flags = [
        "--allow-target",
        "10.0.0.0/8",
        "--allow-target",
        "a.internal,b.internal",
        "--dns-server",
        "10.0.0.2",
    ];
    let file = file("deny_targets = ['x', 'y']\nown_names = 'one'\n");
    let line: Vec<&str> = flags
        .into_iter()
        .chain(["--config", file.path().to_str().unwrap()])
        .collect();
    let options = load(&line, &[("HOOKWRIGHT_RETRY_DELAYS", "1s, 2m")]).unwrap().options;
    assert_eq!(options.allow_targets, ["10.0.0.0/8", "a.internal", "b.internal"]);
    assert_eq!(options.deny_targets, ["x", "y"]);
    assert_eq!(options.own_names, ["one"]);
    assert_eq!(options.dns_servers, ["10.0.0.2:53".parse().unwrap()]);
    assert_eq!(options.retry_delays, [Duration::from_secs(1), Duration::from_secs(120)]);
}

#[test]
fn the_variable_of_a_list_may_be_singular_but_not_both() {
    let singular = ("HOOKWRIGHT_DENY_TARGET", "a.internal, b.internal");
    let plural = ("HOOKWRIGHT_DENY_TARGETS", "c.internal");
    assert_eq!(
        load(&[], &[singular]).unwrap().options.deny_targets,
        ["a.internal", "b.internal"]
    );
    assert_eq!(load(&[], &[plural]).unwrap().options.deny_targets, ["c.internal"]);
    let Err(error) = load(&[], &[singular, plural]) else {
        panic!("both were accepted")
    };
    assert_eq!(
        error.to_string(),
        "HOOKWRIGHT_DENY_TARGETS and HOOKWRIGHT_DENY_TARGET are the same setting: set one of them"
    );
}

#[test]
fn a_switch_stands_alone_or_takes_a_value() {
    assert!(load(&["--require-https"], &[]).unwrap().options.require_https);
    let variables = [("HOOKWRIGHT_REQUIRE_HTTPS", "true")];
    assert!(
        !load(&["--require-https=false"], &variables)
            .unwrap()
            .options
            .require_https
    );
    assert!(load(&[], &variables).unwrap().options.require_https);
}

#[test]
fn the_data_directory_has_its_defaults() {
    let directory = |variables: &[(&str, &str)]| load(&[], variables).unwrap().options.data_dir;
    assert_eq!(directory(&[]), Path::new("/home/somebody/.local/share/hookwright"));
    assert_eq!(directory(&[("XDG_DATA_HOME", "/xdg")]), Path::new("/xdg/hookwright"));
    assert_eq!(
        directory(&[("XDG_DATA_HOME", "relative")]),
        Path::new("/home/somebody/.local/share/hookwright")
    );
    assert_eq!(
        directory(&[("HOOKWRIGHT_DATA_DIR", "/data"), ("XDG_DATA_HOME", "/xdg")]),
        Path::new("/data")
    );
}

#[test]
fn a_bad_value_names_setting_origin_and_remedy() {
    let Err(error) = load(&[], &[("HOOKWRIGHT_SHUTDOWN_TIMEOUT", "30")]) else {
        panic!("accepted")
    };
    let message = format!("{error:#}");
    for part in [
        "shutdown-timeout",
        "environment HOOKWRIGHT_SHUTDOWN_TIMEOUT",
        "`30`",
        "for example 30s",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn all_wrong_settings_are_told_at_once() {
    let file = file("alow_targets = []\nretension = '1d'\nlog_filter = 'warn'\n");
    let Err(error) = load(
        &["--config", file.path().to_str().unwrap(), "--grpc-address", "nowhere"],
        &[("HOOKWRIGHT_SHUTDOWN_TIMEOUT", "30")],
    ) else {
        panic!("accepted")
    };
    let message = format!("{error:#}");
    for part in [
        "alow_targets",
        "retension",
        "flag --grpc-address",
        "HOOKWRIGHT_SHUTDOWN_TIMEOUT",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn secrets_are_masked_where_settings_are_shown() {
    let effective = load(
        &["--master-key", "c2VjcmV0"],
        &[("HOOKWRIGHT_DATABASE_URL", "postgres://u:secret@h/d")],
    )
    .unwrap();
    let shown = format!("{:?}", effective.shown());
    assert!(!shown.contains("c2VjcmV0") && !shown.contains("u:secret"), "{shown}");
    assert_eq!(effective.options.master_key.as_deref(), Some("c2VjcmV0"));
}

#[test]
fn the_server_knows_its_settings_with_their_origins() {
    use hookwright_server::options::Origin as Told;

    let file = file("log_filter = 'warn'\n");
    let path = file.path().to_str().unwrap();
    let effective = load(
        &["--config", path, "--dns-server", "10.0.0.2,10.0.0.3"],
        &[("HOOKWRIGHT_MASTER_KEY", "c2VjcmV0")],
    )
    .unwrap();
    let settings = &effective.options.about.settings;
    assert_eq!(settings.len(), effective.shown().len());
    let told = |name: &str| settings.iter().find(|setting| setting.name == name).unwrap();
    assert_eq!(told("log-filter").origin, Told::File(path.to_owned()));
    assert_eq!(told("dns-servers").origin, Told::Flag("--dns-server".to_owned()));
    assert_eq!(told("dns-servers").values, ["10.0.0.2:53", "10.0.0.3:53"]);
    assert!(told("dns-servers").list);
    let key = told("master-key");
    assert_eq!(key.origin, Told::Environment("HOOKWRIGHT_MASTER_KEY".to_owned()));
    assert_eq!(key.values, ["(set, not shown)"]);
    assert_eq!(told("retention").origin, Told::Default);
}
