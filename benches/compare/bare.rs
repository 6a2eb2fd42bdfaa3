//! The upper bound of this stack: actix-web answers with prepared bytes and the headers of a hit.
//!
//! `bare PLAIN_FILE GZIP_FILE…` serves each pair of files at `/0`, `/1` and so on, with one worker, and prints its address.
//! It has no cache, log or metrics, so the difference between it and a hit is the cost of our code.
#![expect(clippy::print_stdout, reason = "prints the address")]

use std::{env, fs, io};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::header::{
        ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
        LAST_MODIFIED, VARY,
    },
    web::{self, Bytes, Data},
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

struct Body {
    plain: Bytes,
    gzip: Bytes,
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let files: Vec<_> = env::args_os().skip(1).collect();
    let (pairs, _) = files.as_chunks::<2>();
    let read = |[plain, gzip]: &[_; 2]| {
        Ok(Data::new(Body { plain: fs::read(plain)?.into(), gzip: fs::read(gzip)?.into() }))
    };
    let bodies: Vec<_> = pairs.iter().map(read).collect::<io::Result<_>>()?;
    let factory = move || {
        bodies.iter().enumerate().fold(App::new(), |app, (number, body)| {
            let place = web::resource(format!("/{number}")).app_data(Data::clone(body));
            app.service(place.route(web::get().to(answer)))
        })
    };
    let server = HttpServer::new(factory)
        .workers(1)
        .keep_alive(std::time::Duration::from_secs(75))
        .tcp_nodelay(true)
        .bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        println!("bare listens on http://{address}");
    }
    server.run().await
}

async fn answer(request: HttpRequest, body: Data<Body>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    for (name, value) in [
        (CACHE_CONTROL, "private, max-age=23"),
        (AGE, "7"),
        (VARY, "Accept-Encoding"),
        (CACHE_STATUS, "zoom-qos-proxy; hit; ttl=23"),
        (ETAG, "\"a81fbb83c54c94d62177647b14d41432\""),
        (LAST_MODIFIED, "Mon, 23 Nov 2026 10:15:42 GMT"),
        (CONTENT_TYPE, "application/json"),
        (X_REQUEST_ID, "3b0d5f3634cf4aa73a4ab0a0bf0fe165"),
    ] {
        response.insert_header((name, HeaderValue::from_static(value)));
    }
    let takes_gzip = request.headers().get(ACCEPT_ENCODING).is_some_and(|value| value.as_bytes() == b"gzip");
    if takes_gzip {
        response.insert_header((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
        response.body(body.gzip.clone())
    } else {
        response.body(body.plain.clone())
    }
}
