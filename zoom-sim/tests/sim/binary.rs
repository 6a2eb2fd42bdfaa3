//! The program: its only output line, its demo meetings, its control endpoint, its exit.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::client::{Client, EXAMPLE};

struct Program {
    child: Child,
    client: Client,
}

impl Program {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_zoom-sim"))
            .args(["--listen", "127.0.0.1:0", "--latency-ms", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        let (_, addr) = line.trim().split_once("http://").expect("a URL");
        let mut client = Client::connect(addr.parse().expect("an address"));
        client.access_token = client.mint().json()["access_token"].as_str().expect("a token").to_owned();
        Self { child, client }
    }

    fn control(&mut self, method: &str, path: &str, body: &str) -> Value {
        let length = body.len();
        let request = format!("{method} /_sim/{path} HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}");
        self.client.send(&request).json()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_program_serves_demo_meetings_and_its_control_endpoint() {
    let mut program = Program::start();
    assert_eq!(program.client.qos("98765432101", "type=past").json()["total_records"], 120);
    let order = r#"{"kind":"error_in200","code":7,"message":"no","meeting":"85746065432"}"#;
    assert_eq!(program.control("POST", "faults", order), json!({ "done": true }));
    assert_eq!(program.client.qos(EXAMPLE, "").error(), (200, 7, "no".to_owned()));
    assert_eq!(program.client.qos(EXAMPLE, "").status(), 200);
    program.control("POST", "meetings", r#"{"id":"123123123","participants":4,"samples":2}"#);
    assert_eq!(program.client.qos("123123123", "").json()["total_records"], 4);
    let order = r#"{"id":"123123124","uuid":"x==","participants":4,"samples":2,"webinar":true}"#;
    program.control("POST", "meetings", order);
    assert_eq!(program.client.qos("x==", "").error().1, 300);
    let calls = program.control("GET", "calls", "");
    assert_eq!(calls.as_array().unwrap().len(), 6, "control calls are not recorded: {calls}");
    assert_eq!((&calls[2]["kind"], &calls[2]["code"]), (&json!("qos"), &json!(7)));
    assert_eq!(calls[2]["endpoint"], "meeting_list");
    program.control("DELETE", "calls", "");
    assert_eq!(program.control("GET", "calls", ""), json!([]));
    assert!(program.control("POST", "faults", r#"{"kind":"hum"}"#)["problem"].is_string());
}

#[test]
fn sigterm_ends_the_program_with_success() {
    let mut program = Program::start();
    let killed = Command::new("kill").args(["-TERM", &program.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(program.child.wait().unwrap().code(), Some(0));
}
