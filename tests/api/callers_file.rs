//! Reloading the callers' file while the service runs, and the commands that change it.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use test_support::{
    callers::{KEY, OTHER_KEY, callers_file, entry, get_as, in_status, start, two_callers},
    freshness::PATH,
    process::{Ended, run_to_end},
    service::{Service, command, program},
    simulator::sim,
    wait::wait_for,
};

const WRONG_CONFIGURATION: Option<i32> = Some(78);
const BROKEN: &str = "callers.file has changed and cannot be used";

/// Replaces the file by renaming a new one over it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("next");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

fn wait_until(service: &Service, key: &str, status: u16) {
    wait_for(|| (get_as(service, key, PATH).status == status).then_some(()));
}

fn problems(service: &Service) -> String {
    let status = service.ops_get("/status").json();
    assert_eq!(
        status["callers_file"]["ok"],
        status["callers_file"]["problems"].as_array().unwrap().is_empty()
    );
    status["callers_file"]["problems"].to_string()
}

fn lines_with(service: &Service, part: &str) -> Vec<Value> {
    let lines = service.printed();
    let lines = lines.iter().filter(|line| line.contains(part));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_changed_file_takes_effect_without_a_restart() {
    let sim = sim(|_| ());
    let (service, _folder, path) = start(&sim, &entry("support-tools", KEY, ""), &[]);
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    assert_eq!(get_as(&service, OTHER_KEY, PATH).status, 401);
    replace(&path, &two_callers("weight = 5"));
    wait_until(&service, OTHER_KEY, 200);
    assert_eq!(in_status(&service, "support-tools")["weight"], 5);
    assert_eq!(in_status(&service, "support-tools")["calls_today"], 1, "its calls still count");
    replace(&path, &entry("bi", OTHER_KEY, ""));
    wait_until(&service, KEY, 401);
    assert_eq!(get_as(&service, OTHER_KEY, PATH).status, 200);
    // The file is overwritten in place, as some editors do.
    fs::write(&path, entry("bi", KEY, "")).unwrap();
    wait_until(&service, OTHER_KEY, 401);
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn a_mounted_file_takes_effect_when_its_link_changes() {
    let sim = sim(|_| ());
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    // The files are arranged as Kubernetes mounts them: file → ..data/file, ..data → a versioned directory.
    for (version, text) in [("..1", entry("support-tools", KEY, "")), ("..2", entry("bi", OTHER_KEY, ""))] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("callers.toml"), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/callers.toml", at("callers.toml")).unwrap();
    let service = Service::start(&sim, &[("callers.file", at("callers.toml").to_str().unwrap())]);
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    fs::remove_dir_all(at("..1")).unwrap();
    wait_until(&service, OTHER_KEY, 200);
    assert_eq!(get_as(&service, KEY, PATH).status, 401);
    service.finish(&[]);
}

#[test]
fn a_broken_or_deleted_file_keeps_the_callers_and_is_logged_once() {
    let sim = sim(|_| ());
    let (service, _folder, path) = start(&sim, &two_callers(""), &[]);
    let ok = || service.metric("zoom_qos_proxy_callers_file_ok");
    assert_eq!((ok(), problems(&service).as_str()), (1.0, "[]"));
    let twice_the_name = entry("a", KEY, "") + &entry("a", "another", "");
    for (count, (text, said)) in (1..).zip([
        (Some("[[caller]\n"), "invalid TOML"),
        (Some(twice_the_name.as_str()), "the name a is already used on line 1"),
        (Some(""), "has no callers"),
        (None, "cannot be read"),
    ]) {
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        wait_for(|| problems(&service).contains(said).then_some(()));
        assert_eq!(ok(), 0.0);
        assert_eq!(get_as(&service, KEY, PATH).status, 200, "{said}");
        assert_eq!(get_as(&service, OTHER_KEY, PATH).status, 200, "{said}");
        assert_eq!(service.get(PATH).status, 401, "{said}: no caller becomes anonymous");
        assert_eq!(service.ops_get("/readyz").status, 200, "{said}");
        // The service polls the file, but logs each problem only once.
        let logged = wait_for(|| Some(lines_with(&service, BROKEN)).filter(|logged| logged.len() >= count));
        assert_eq!(logged.len(), count, "{logged:#?}");
        assert!(logged[count - 1]["problems"].as_str().unwrap().contains(said), "{logged:#?}");
        assert_eq!(logged[count - 1]["level"], "ERROR");
    }
    replace(&path, &entry("bi", OTHER_KEY, ""));
    wait_until(&service, KEY, 401);
    assert_eq!((ok(), problems(&service).as_str()), (1.0, "[]"));
    let lines = service.finish(&[BROKEN]);
    assert_eq!(
        lines.iter().filter(|line| line.contains("callers.file has changed and is in use")).count(),
        1
    );
}

#[test]
fn a_changed_limit_counts_the_calls_made_before_the_change() {
    let sim = sim(|_| ());
    let (service, _folder, path) = start(&sim, &two_callers("calls_per_minute = 1"), &[]);
    let cold = |id: &str| get_as(&service, KEY, &format!("/qos/{id}")).status;
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    assert_eq!(cold("91111111111"), 429);
    replace(&path, &two_callers("calls_per_minute = 1\nweight = 9"));
    wait_for(|| (in_status(&service, "support-tools")["weight"] == 9).then_some(()));
    assert_eq!(cold("91111111111"), 429, "a new file does not reset the minute");
    replace(&path, &two_callers("calls_per_minute = 2"));
    wait_for(|| (in_status(&service, "support-tools")["calls_per_minute"] == 2).then_some(()));
    assert_eq!(cold("91111111111"), 404, "the call reached Zoom");
    assert_eq!(cold("92222222222"), 429);
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn a_broken_file_at_start_reports_every_problem_as_wrong_configuration() {
    let sim = sim(|_| ());
    let (_folder, path) = callers_file("[[caller]]\nname = \"a b\"\nweight = 0\n");
    let file = path.to_str().unwrap();
    for arguments in [&["check-config"][..], &[]] {
        let ended = run_to_end(command(&sim, &[("callers.file", file)]).args(arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (WRONG_CONFIGURATION, ""));
        for said in [":1: this caller has no key_sha256", ":2: name:", ":3: weight"] {
            assert!(ended.stderr.contains(&format!("{file}{said}")), "{said} in {}", ended.stderr);
        }
    }
    let ended = run_to_end(&mut command(&sim, &[("callers.file", "/nowhere/callers.toml")]));
    assert_eq!(ended.code, WRONG_CONFIGURATION);
    assert!(ended.stderr.contains("callers.file: the file cannot be read"), "{}", ended.stderr);
    assert!(sim.calls().is_empty());
}

#[test]
fn entries_with_other_problems_are_compared_with_the_rest() {
    let sim = sim(|_| ());
    let issuer = "[[issuer]]\nname = \"idp\"\nurl = \"https://idp.example\"\n";
    let text = [
        entry("a", KEY, "weight = 0"),
        entry("a", KEY, "calls_per_day = 0"),
        "[[caller]]\nname = \"b\"\nsubject = \"s\"\nissuer = \"other\"\nhide = 1\n".to_owned(),
        issuer.to_owned(),
        format!("{issuer}jwks_file = \"k\"\nca_file = \"c\"\n"),
    ]
    .concat();
    let (_folder, path) = callers_file(&text);
    let file = path.to_str().unwrap();
    let ended = run_to_end(command(&sim, &[("callers.file", file)]).arg("check-config"));
    assert_eq!(ended.code, WRONG_CONFIGURATION);
    let said = [
        ":4: weight must be",
        ":5: the name a is already used on line 1",
        ":5: a has the same key as the caller on line 1",
        ":8: calls_per_day must be",
        ":9: the tokens of b need their [[issuer]]",
        ":13: hide must be",
        ":14: this issuer has no audience",
        ":17: this issuer has no audience",
        ":17: the name idp is already used on line 14",
        ":17: idp has the same url as the issuer on line 14",
        ":17: jwks_file replaces",
    ];
    for expected in said {
        assert!(ended.stderr.contains(&format!("{file}{expected}")), "{expected} in {}", ended.stderr);
    }
    assert_eq!(ended.stderr.lines().count(), said.len(), "{}", ended.stderr);
}

// ---- the commands ----

/// Runs `zoom-qos-proxy callers add` with these arguments and this `callers.file`, and no other configuration.
fn add(file: Option<&Path>, arguments: &[&str]) -> Ended {
    run_to_end(bare(file).args(["callers", "add"]).args(arguments))
}

fn bare(file: Option<&Path>) -> Command {
    let mut command = Command::new(program());
    command.env_clear().stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    if let Some(file) = file {
        command.env("QOS_PROXY__CALLERS__FILE", file);
    }
    command
}

/// Returns the printed key. Asserts that standard output contains nothing else, and that standard error does not
/// contain the key.
fn key_of(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let key = ended.stdout.strip_suffix('\n').unwrap().to_owned();
    assert!(key.starts_with("zqp_") && key.len() == 47 && !key.contains(char::is_whitespace), "{ended:?}");
    assert!(!ended.stderr.contains(&key), "{ended:?}");
    key
}

fn files_in(folder: &TempDir) -> usize {
    fs::read_dir(folder.path()).unwrap().count()
}

#[test]
fn the_running_service_accepts_the_key_printed_for_an_added_caller() {
    let sim = sim(|_| ());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("callers.toml");
    let first = key_of(&add(Some(&path), &["support-tools"]));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "only its owner may read a new file");
    let service = Service::start(&sim, &[("callers.file", path.to_str().unwrap())]);
    assert_eq!(get_as(&service, &first, PATH).status, 200);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let arguments = ["bi", "--weight", "3", "--calls-per-minute", "60", "--file", path.to_str().unwrap()];
    let second = key_of(&add(None, &arguments));
    wait_until(&service, &second, 200);
    assert_eq!(get_as(&service, &first, PATH).status, 200);
    let added = in_status(&service, "bi");
    assert_eq!((&added["weight"], &added["calls_per_minute"]), (&3.into(), &60.into()));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640, "the mode is kept");
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&first) && !text.contains(&second), "only hashes are kept");
    assert_eq!(files_in(&folder), 1, "no temporary file is left");
    service.finish(&[]);
}

#[test]
fn an_invalid_caller_is_rejected_with_a_reason_and_nothing_changes() {
    let text = format!("# mine\n{}", two_callers(""));
    let (folder, path) = callers_file(&text);
    let folder_path = folder.path().to_str().unwrap();
    let elsewhere = format!("{folder_path}/none/callers.toml");
    for (arguments, code, said) in [
        (&["bi"][..], 1, "there is already a caller named bi"),
        (&["b/i"], 2, "must be 1 to 64 characters of"),
        (&[KEY], 2, "this is a caller key"),
        (&["anonymous"], 2, "choose another name"),
        (&["x", "--weight", "0"], 2, "1 to 1000"),
        (&["x", "--weight", "1001"], 2, "1 to 1000"),
        (&["x", "--calls-per-minute", "0"], 2, "--calls-per-minute"),
        (&["x", "--file", &elsewhere], 1, "No such file or directory"),
        (&["x", "--file", folder_path], 78, "it is a directory, not a regular file"),
        (&["x", "--config", "/nowhere/at-all.toml"], 78, "/nowhere/at-all.toml: cannot be read"),
    ] {
        let ended = add(Some(&path), arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{said} in {}", ended.stderr);
        assert!(!ended.stderr.contains("Os {") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(files_in(&folder), 1);
    }
    fs::write(&path, "[[caller]]\nname = 1\n").unwrap();
    let ended = add(Some(&path), &["x"]);
    assert_eq!(ended.code, WRONG_CONFIGURATION);
    assert!(ended.stderr.contains("line 1: ") && ended.stderr.contains("line 2: "), "{}", ended.stderr);
    let ended = add(None, &["x"]);
    assert_eq!(ended.code, WRONG_CONFIGURATION);
    assert!(ended.stderr.contains("callers.file is not set"), "{}", ended.stderr);
}

#[test]
fn no_caller_is_added_if_its_key_cannot_be_printed() {
    let (folder, path) = callers_file(&two_callers(""));
    let before = fs::read_to_string(&path).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut adding = bare(Some(&path));
    let status = adding.args(["callers", "add", "x"]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(files_in(&folder), 1);
}

#[test]
fn the_old_key_works_beside_the_rotated_one_until_it_is_removed() {
    let sim = sim(|_| ());
    let text = format!("# ours\n{}", two_callers("# kept\nweight = 7"));
    let (service, folder, path) = start(&sim, &text, &[]);
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    let next = key_of(&add(Some(&path), &["support-tools", "--rotate"]));
    wait_until(&service, &next, 200);
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    let status = in_status(&service, "support-tools");
    assert_eq!((&status["weight"], &status["calls_today"]), (&7.into(), &1.into()), "its calls still count");
    let rotated = fs::read_to_string(&path).unwrap();
    assert!(rotated.starts_with("# ours\n") && rotated.contains("# kept\nweight = 7"), "{rotated}");
    let old = entry("x", KEY, "").lines().nth(2).unwrap().replace("key_sha256 = ", "") + ", ";
    replace(&path, &rotated.replace(&old, ""));
    wait_until(&service, KEY, 401);
    assert_eq!(get_as(&service, &next, PATH).status, 200);
    assert_eq!(files_in(&folder), 1);
    service.finish(&[]);
}

#[test]
fn the_list_shows_every_setting_and_no_secret() {
    let issuer = |name: &str, audience: &str| {
        format!(
            "[[issuer]]\nname = \"{name}\"\nurl = \"https://{name}.example/x\"\naudience = \"{audience}\"\n\
             token_file = \"/etc/Zebra\"\n"
        )
    };
    let by_token = |name: &str, more: &str| format!("[[caller]]\nname = \"{name}\"\n{more}\n");
    let text = [
        entry("a", KEY, "hide = [\"device\", \"identity\"]\ncalls_per_day = 5\nweight = 7"),
        by_token("b", "service_account = \"support/bot\"\nhide = []"),
        by_token("c", "subject = \"Ann \\\"A\\\" Smith\"\ngroup = \"sre\"\nissuer = \"second\""),
        issuer("first", "qos"),
        issuer("second", "of two"),
    ]
    .concat();
    let (_folder, path) = callers_file(&text);
    let listed = run_to_end(bare(Some(&path)).args(["callers", "list"]));
    assert_eq!(
        listed.stdout.lines().collect::<Vec<_>>(),
        [
            "a weight=7 keys=1 calls_per_day=5 hide=identity,device",
            "b weight=1 keys=0 service_account=support/bot issuer=first url=https://first.example/x audience=qos",
            "c weight=1 keys=0 subject=\"Ann \\\"A\\\" Smith\" group=sre issuer=second url=https://second.example/x \
             audience=\"of two\"",
        ],
        "{listed:?}"
    );
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_removed_caller_is_rejected_and_the_rest_of_the_file_stays() {
    let sim = sim(|_| ());
    let text = format!("# ours\n{}# end\n", two_callers("calls_per_minute = 9"));
    let (service, _folder, path) = start(&sim, &text, &[]);
    let list = || run_to_end(bare(Some(&path)).args(["callers", "list"]));
    let listed = list();
    assert_eq!(listed.stdout, "support-tools weight=1 keys=1 calls_per_minute=9\nbi weight=1 keys=1\n");
    let remove = |name: &str| run_to_end(bare(Some(&path)).args(["callers", "remove", name]));
    let removed = remove("support-tools");
    assert_eq!((removed.code, removed.stdout.as_str()), (Some(0), ""), "{removed:?}");
    wait_until(&service, KEY, 401);
    assert_eq!(get_as(&service, OTHER_KEY, PATH).status, 200);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("# ours\n{}# end\n", entry("bi", OTHER_KEY, "")));
    for (name, said) in [("support-tools", "no caller named support-tools"), ("bi", "bi is the only caller")]
    {
        let refused = remove(name);
        assert_eq!((refused.code, refused.stderr.contains(said)), (Some(1), true), "{refused:?}");
    }
    assert_eq!(list().stdout, "bi weight=1 keys=1\n");
    service.finish(&[]);
}
