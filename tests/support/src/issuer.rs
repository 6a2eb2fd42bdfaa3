//! An issuer of signed tokens: serves its documents over HTTP, and signs tokens with its own keys.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::wait::pause;

pub const AUDIENCE: &str = "zoom-qos-proxy";
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A key pair for ES256.
pub struct TokenKey {
    pub id: String,
    pair: EcdsaKeyPair,
}

impl TokenKey {
    pub fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { id: id.to_owned(), pair }
    }

    pub fn jwk(&self) -> Value {
        // An uncompressed point: the byte 0x04, then x and y, 32 bytes each.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let coordinate = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": coordinate(x), "y": coordinate(y) })
    }

    /// Signs a token with these claims. Members of `head` are added to the token's header or replace `alg`, `kid` and
    /// `typ`.
    pub fn sign_with(&self, claims: &Value, head: &Value) -> String {
        let mut full = json!({ "alg": "ES256", "kid": self.id, "typ": "JWT" });
        full.as_object_mut().unwrap().extend(head.as_object().unwrap().clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&full), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, &json!({}))
    }
}

/// The time this many seconds from now, in seconds since 1970.
pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// A request that the issuer received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    pub path: String,
    pub authorization: Option<String>,
}

/// An issuer that runs until the test process ends.
pub struct Issuer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Status, `Location` and body by path.
    answers: HashMap<String, (u16, String, String)>,
    delay: Duration,
    requests: Vec<KeyRequest>,
}

impl Issuer {
    /// Serves these keys at `/keys`, and a discovery document that names this path.
    pub fn start(keys: &[&TokenKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        issuer.answer(
            DISCOVERY,
            200,
            &json!({ "issuer": issuer.url(), "jwks_uri": issuer.keys_url() }).to_string(),
        );
        issuer.set_keys(keys);
        let state = Arc::clone(&issuer.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || serve(&stream, &state));
            }
        });
        issuer
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.url())
    }

    pub fn set_keys(&self, keys: &[&TokenKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.answer("/keys", 200, &json!({ "keys": keys }).to_string());
    }

    pub fn answer(&self, path: &str, status: u16, body: &str) {
        let answer = (status, String::new(), body.to_owned());
        self.state.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    pub fn redirect(&self, path: &str, location: &str) {
        let answer = (302, location.to_owned(), String::new());
        self.state.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// Delays every answer from now on by this time.
    pub fn set_delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    pub fn requests(&self) -> Vec<KeyRequest> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn fetches(&self) -> usize {
        self.requests().iter().filter(|request| request.path == "/keys").count()
    }

    /// The `[[issuer]]` entry of the callers' file for this issuer, followed by the lines of `more`.
    pub fn entry(&self, more: &str) -> String {
        format!("[[issuer]]\nname = \"test\"\nurl = \"{}\"\naudience = \"{AUDIENCE}\"\n{more}\n", self.url())
    }

    /// Claims that are valid for an hour.
    pub fn claims(&self, subject: &str) -> Value {
        json!({ "iss": self.url(), "aud": [AUDIENCE], "exp": in_seconds(3600), "sub": subject })
    }
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(path) = lines.next().and_then(|line| Some(line.split(' ').nth(1)?.to_owned())) else { return };
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let authorization = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let (answer, delay) = {
        let mut state = state.lock().unwrap();
        state.requests.push(KeyRequest { path: path.clone(), authorization });
        (state.answers.get(&path).cloned(), state.delay)
    };
    pause(delay);
    let (status, location, body) = answer.unwrap_or((404, String::new(), String::new()));
    let location = if location.is_empty() { location } else { format!("Location: {location}\r\n") };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{location}Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok();
}
