//! Responses that are the same for everybody as long as the process runs: compressed once, with a tag for each coding.

use std::io::{self, Write as _};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, VARY},
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{negotiation, preconditions};
use crate::snapshot::{BodyWriter, Coding, Effort, Tag};

pub(super) struct ConstantBody {
    zstd: ConstantEncoding,
    gzip: ConstantEncoding,
    identity: ConstantEncoding,
}

struct ConstantEncoding {
    coding: Coding,
    bytes: Bytes,
    etag: String,
}

impl ConstantBody {
    pub(super) fn new(body: String) -> Self {
        let body = Bytes::from(body);
        let tag = Tag::of(&Sha256::digest(&body));
        let encoding = |coding| {
            // Compressing should not fail. If it does, clients get the body uncompressed, which all of them can read.
            let (coding, bytes) =
                encode(&body, coding).map_or((Coding::Identity, body.clone()), |bytes| (coding, bytes));
            ConstantEncoding { coding, bytes, etag: coding.etag(tag) }
        };
        Self {
            zstd: encoding(Coding::Zstd),
            gzip: encoding(Coding::Gzip),
            identity: encoding(Coding::Identity),
        }
    }

    /// Responds with the body in the coding that the client prefers, or with a `304`. The body has no date, so
    /// `If-Modified-Since` is ignored.
    pub(super) fn respond(
        &self,
        request: &HttpRequest,
        content_type: HeaderValue,
        cache_control: HeaderValue,
    ) -> HttpResponse {
        let ConstantEncoding { coding, bytes, etag } = match negotiation::coding(request.headers(), |_| true)
        {
            Coding::Zstd => &self.zstd,
            Coding::Gzip => &self.gzip,
            Coding::Identity => &self.identity,
        };
        let not_modified = preconditions::if_none_match(request.headers(), etag.as_bytes()).unwrap_or(false);
        let mut response = if not_modified { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response.insert_header((CACHE_CONTROL, cache_control)).insert_header((ETAG, etag.as_str()));
        response.insert_header((VARY, "Accept-Encoding"));
        if not_modified {
            return response.finish();
        }
        if *coding != Coding::Identity {
            response.insert_header((CONTENT_ENCODING, coding.as_str()));
        }
        response.insert_header((CONTENT_TYPE, content_type)).body(bytes.clone())
    }
}

fn encode(body: &[u8], coding: Coding) -> io::Result<Bytes> {
    let mut writer = BodyWriter::new(coding, Effort::High)?;
    writer.write_all(body)?;
    Ok(writer.finish()?.bytes.into())
}
