//! The daemon as a process: ready line, signals, exit statuses.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn p2pnode(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2pnode"));
    command.args(args).arg("--home").arg(home).env_remove("P2PNODE_API").env_remove("P2PNODE_LOG");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A started daemon and its ready line. Listens on this computer only, on any port.
fn start(home: &Path) -> (Child, String) {
    let args = ["start", "--json", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "127.0.0.1:0"];
    let mut child = p2pnode(home, &args).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    if line.is_empty() {
        let ended = child.wait_with_output().unwrap();
        panic!("not ready: {}", String::from_utf8_lossy(&ended.stderr));
    }
    (child, line)
}

fn stop(child: Child, signal: Signal) -> Output {
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_daemon_tells_when_it_is_ready_and_ends_well_by_either_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = tempfile::tempdir().unwrap();
        let (child, line) = start(home.path());
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let ended = stop(child, signal);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ready["event"], "ready");
        assert!(ready["listen"][0].as_str().unwrap().starts_with("/ip4/127.0.0.1/tcp/"), "{ready}");
        assert_eq!(ready["api"], home.path().join("api.sock").to_str().unwrap());
        assert!(ready["peer_id"].is_string(), "{ready}");
        assert!(ready["gateway"].as_str().unwrap().starts_with("http://p2pnode.localhost:"), "{ready}");
    }
}

#[test]
fn the_log_is_lines_of_json_for_who_asks() {
    let home = tempfile::tempdir().unwrap();
    let args = ["start", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "off"];
    let child =
        p2pnode(home.path(), &args).env("P2PNODE_LOG_FORMAT", "json").env("P2PNODE_LOG", "info").spawn().unwrap();
    let ready = || home.path().join("api.sock").exists();
    let begun = std::time::Instant::now();
    while !ready() && begun.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let ended = stop(child, Signal::TERM);
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log}");
    assert!(lines.iter().any(|line| line["message"] == "node started" && line["peer"].is_string()), "{log}");
}

#[test]
fn a_second_daemon_in_one_home_fails_and_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let (first, _) = start(home.path());
    let second = p2pnode(home.path(), &["start", "--no-mdns"]).output().unwrap();
    let third = p2pnode(home.path(), &["start", "--no-mdns", "--json"]).output().unwrap();
    stop(first, Signal::TERM);
    let words = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{words}");
    assert!(words.contains("--home"), "{words}");
    let json = String::from_utf8_lossy(&third.stderr);
    let error: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert!(error["error"]["hint"].is_string() && third.stdout.is_empty(), "{json}");
}

#[test]
fn wrong_settings_are_told_before_anything_is_made() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), "\nnetwrok = 1\n").unwrap();
    let ended = p2pnode(home.path(), &["start"]).output().unwrap();
    let words = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1));
    assert!(words.contains("config.toml, line 2") && words.contains("netwrok"), "{words}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn the_configuration_that_is_printed_can_be_used() {
    let home = tempfile::tempdir().unwrap();
    let printed = p2pnode(home.path(), &["config"]).output().unwrap();
    assert!(printed.status.success());
    std::fs::write(home.path().join("config.toml"), &printed.stdout).unwrap();
    assert_eq!(p2pnode(home.path(), &["config"]).output().unwrap().stdout, printed.stdout);
}
