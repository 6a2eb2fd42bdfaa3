//! The guard and actix on scripted connections, whose bytes arrive in given pieces.

mod forms;

use std::{cell::RefCell, collections::VecDeque, future::poll_fn, time::Duration};

use actix_http::{HttpService, KeepAlive};
use actix_rt::System;
use actix_service::{Service as _, ServiceFactory as _, apply_fn_factory, map_config};
use actix_web::{
    App, HttpRequest, HttpResponse,
    dev::AppConfig,
    http::Method,
    web::{self, Payload},
};
use futures_util::StreamExt as _;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::Config};

pub(crate) use self::forms::AMBIGUOUS_BODIES;
use self::forms::AMBIGUOUS_HEADS;
use super::*;
use crate::{
    metrics::Metrics,
    server::{link, open_connections::OpenConnections},
};

const PATIENT: Timeouts =
    Timeouts { head: Duration::from_secs(60), idle: Duration::from_secs(60), write: Duration::from_secs(60) };

/// A peer that sends these pieces, closes its direction, and accepts every response.
struct ScriptedPeer {
    pieces: RefCell<VecDeque<Vec<u8>>>,
    /// Whether the previous piece has just been read, and the next one has not arrived yet.
    pause: bool,
    answered: Rc<RefCell<Vec<u8>>>,
}

impl AsyncRead for ScriptedPeer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.pause) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut pieces = self.pieces.borrow_mut();
        if let Some(mut piece) = pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(out.remaining()));
            out.put_slice(&piece);
            let is_whole = rest.is_empty();
            if !is_whole {
                pieces.push_front(rest);
            }
            drop(pieces);
            self.pause = is_whole;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ScriptedPeer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.answered.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket for ScriptedPeer {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.answered.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn reset_when_dropped(&self) {}
}

/// Echoes the request. A path with `late` gets its response after a few polls. Only `POST` reads its body.
async fn echo(request: HttpRequest, mut body: Payload) -> HttpResponse {
    if request.path().contains("late") {
        for _ in 0..3 {
            let mut was_pending = false;
            poll_fn(|context| {
                if std::mem::replace(&mut was_pending, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }
    let mut read = Vec::new();
    if *request.method() == Method::POST {
        while let Some(part) = body.next().await {
            match part {
                Ok(part) => read.extend_from_slice(&part),
                Err(_) => return HttpResponse::BadRequest().finish(),
            }
        }
    }
    let body = String::from_utf8_lossy(&read).into_owned();
    HttpResponse::Ok().body(format!("<{} {} {body}>", request.method(), request.path()))
}

/// Returns the responses to each of these streams, without their dates.
fn answers(streams: impl IntoIterator<Item = Vec<Vec<u8>>>) -> Vec<String> {
    let metrics = std::sync::Arc::new(Metrics::default());
    System::new().block_on(async {
        let routes = App::new().default_service(web::to(echo));
        let service = apply_fn_factory(map_config(routes, |()| AppConfig::default()), link::watch);
        let http = HttpService::build()
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(Duration::from_millis(1))
            .on_connect_ext(|guard: &Guard<ScriptedPeer>, extensions| {
                extensions.insert(Rc::clone(&guard.link));
            })
            .h1(service);
        let http = http.new_service(()).await.unwrap();
        let mut all = Vec::new();
        for pieces in streams {
            let answered = Rc::default();
            let script = ScriptedPeer {
                pieces: RefCell::new(pieces.into()),
                pause: false,
                answered: Rc::clone(&answered),
            };
            let written = format!("{:?}", script.pieces);
            let served = http.call((
                Guard::new(
                    script,
                    PATIENT,
                    ConnectionMeter::new(&metrics, "callers", &OpenConnections::default()),
                ),
                None,
            ));
            let ended = tokio::time::timeout(Duration::from_secs(20), served).await;
            assert!(
                ended.is_ok(),
                "does not end: {written}, answered {:?}",
                String::from_utf8_lossy(&answered.borrow())
            );
            let text = String::from_utf8(answered.take()).unwrap();
            let undated = text.split("\r\n").filter(|line| !line.starts_with("date:"));
            all.push(undated.collect::<Vec<_>>().join("\r\n"));
        }
        all
    })
}

fn answer(stream: &str) -> String {
    answers([vec![stream.as_bytes().to_vec()]]).remove(0)
}

/// Returns the stream in two pieces, once for each place where it can be split, and the stream byte by byte.
fn every_split(stream: &str) -> Vec<Vec<Vec<u8>>> {
    let bytes = stream.as_bytes();
    let two = |at: usize| {
        let (first, second) = bytes.split_at(at);
        vec![first.to_vec(), second.to_vec()]
    };
    let single = bytes.iter().map(|byte| vec![*byte]).collect();
    (1..bytes.len()).map(two).chain([single]).collect()
}

/// A request after an ambiguous head or body. It must not get a response of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn an_ambiguous_head_gets_400_and_ends_the_connection() {
    for head in AMBIGUOUS_HEADS {
        let stream = format!("{head}{SMUGGLED}");
        let whole = answer(&stream);
        assert!(whole.starts_with("HTTP/1.1 400 "), "{head:?}: {whole}");
        assert_eq!(whole.matches("HTTP/1.1 ").count(), 1, "{head:?}: {whole}");
        for split in answers(every_split(&stream)) {
            assert_eq!(split, whole, "{head:?}");
        }
    }
}

#[test]
fn nothing_after_an_ambiguous_body_is_a_request() {
    for method in ["POST", "GET"] {
        for body in AMBIGUOUS_BODIES {
            let stream = format!(
                "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"
            );
            for split in answers(every_split(&stream).into_iter().chain([vec![stream.clone().into_bytes()]]))
            {
                assert!(!split.contains("smuggled"), "{body:?}: {split}");
                assert!(!split.contains("<POST / "), "{body:?} was taken for a whole body: {split}");
            }
        }
    }
}

/// A request, and the body of its response.
fn request() -> impl Strategy<Value = (String, String)> {
    let path = select(&["/a", "/late", "/late/b"][..]);
    let body = "[a-z\r\n]{0,40}";
    let head =
        |method: &str, path: &str, more: &str| format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    let said = |method: &str, path: &str, body: &str| format!("<{method} {path} {body}>");
    let plain = select(
        &[
            "",
            "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n",
            "upgrade: websocket\r\nconnection: upgrade\r\n",
            "X: y\r\n",
        ][..],
    );
    prop_oneof![
        (path.clone(), plain).prop_map(move |(path, more)| (head("GET", path, more), said("GET", path, ""))),
        path.clone().prop_map(move |path| (format!("\r\n{}", head("GET", path, "")), said("GET", path, ""))),
        path.clone().prop_map(move |path| (head("HEAD", path, ""), String::new())),
        (path.clone(), body).prop_map(move |(path, body)| {
            let length = format!("Content-Length: {}\r\n", body.len());
            (format!("{}{body}", head("POST", path, &length)), said("POST", path, &body))
        }),
        (path, vec("[a-z\r\n]{1,20}", 0..4)).prop_map(move |(path, chunks)| {
            let coded: Vec<_> = chunks.iter().map(|it| format!("{:x};x=y\r\n{it}\r\n", it.len())).collect();
            let coded = coded.concat();
            let head = head("POST", path, "Transfer-Encoding: chunked\r\n");
            (format!("{head}{coded}0\r\nX: y\r\n\r\n"), said("POST", path, &chunks.concat()))
        }),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn requests_are_answered_in_turn_however_they_are_split(
        requests in vec(request(), 1..6),
        lengths in vec(1_usize..60, 0..40),
    ) {
        let stream: String = requests.iter().map(|(request, _)| request.as_str()).collect();
        let (mut rest, mut pieces) = (stream.as_bytes(), Vec::new());
        for length in lengths {
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            (!piece.is_empty()).then(|| pieces.push(piece.to_vec()));
            rest = behind;
        }
        (!rest.is_empty()).then(|| pieces.push(rest.to_vec()));
        let answered = answers([pieces]).remove(0);
        let bodies: Vec<_> = answered.split("HTTP/1.1 200 OK\r\n").skip(1).map(|answer| answer.split_once("\r\n\r\n").unwrap().1).collect();
        let expected: Vec<_> = requests.iter().map(|(_, said)| said.as_str()).collect();
        prop_assert_eq!(bodies, expected, "{}", answered);
    }

    #[test]
    fn any_bytes_get_the_same_responses_however_they_are_split(
        words in vec(select(WORDS), 1..24),
        at in any::<prop::sample::Index>(),
    ) {
        let stream = words.concat();
        let at = at.index(stream.len());
        let (first, second) = stream.as_bytes().split_at(at);
        let pieces = [first, second].into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
        let both = answers([vec![stream.clone().into_bytes()], pieces]);
        prop_assert_eq!(&both[0], &both[1], "{:?} at {}", stream, at);
    }
}

/// Parts of heads and bodies.
const WORDS: &[&str] = &[
    "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\n",
    "HEAD /a HTTP/1.1\r\nHost: a\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "0\r\n\r\n",
    "5\r\nabcde\r\n",
    "abcde",
    " ",
    ":",
    "Upgrade: h2c\r\n",
    "Connection: close\r\n",
    "Connection: upgrade\r\n",
    "Expect: 100-continue\r\n",
    "\0",
    "X: y\r\n",
];

#[test]
fn a_request_that_was_not_handed_over_is_rejected() {
    let link = Rc::new(GuardLink::default());
    link.handed_over.set(true);
    let mut first = actix_http::Request::new();
    assert!(link.record(&mut first));
    assert!(!link.record(&mut first), "the guard handed over one head, not two");
}
