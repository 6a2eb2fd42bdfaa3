//! The bodies of found pages and participants. They are written without the state's lock, because writing takes long.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::endpoint::MeetingKind;
use crate::meeting::Hosted;
use crate::reply::Reply;

/// The page or participant from which a body is written.
#[derive(Debug)]
pub(crate) enum Found {
    Page { hosted: Arc<Hosted>, number: usize, size: usize, next_page_token: String },
    Participant { hosted: Arc<Hosted>, id: String },
}

impl Found {
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::Page { hosted, number, size, next_page_token } => {
                page_reply(hosted, *number, *size, next_page_token)
            }
            Self::Participant { hosted, id } => participant_reply(hosted, id),
        }
    }
}

fn page_reply(hosted: &Hosted, number: usize, size: usize, next_page_token: &str) -> Reply {
    let mut body = String::with_capacity(4_096);
    let envelope = write!(
        body,
        r#"{{"next_page_token":"{next_page_token}","page_count":{},"page_size":{size},"total_records":{},"#,
        hosted.pages(size),
        hosted.rows()
    );
    envelope.unwrap_or_default();
    if let Some(number) = number_field(hosted) {
        body.push_str(&number);
        body.push(',');
    }
    body.push_str(r#""participants":"#);
    hosted.write_page(size, number, &mut body);
    body.push('}');
    heavy(body)
}

fn participant_reply(hosted: &Hosted, id: &str) -> Reply {
    let Some(mut body) = hosted.participant(id) else {
        return Reply::error(404, 1_010, &format!("Participant does not exist: {id}."));
    };
    if let Some(number) = number_field(hosted)
        && body.pop() == Some('}')
    {
        body.push(',');
        body.push_str(&number);
        body.push('}');
    }
    heavy(body)
}

fn heavy(body: String) -> Reply {
    Reply::json(200, body).with("x-ratelimit-category", "Heavy")
}

/// The field with the meeting's or webinar's number; `None` if its id is not a number.
fn number_field(hosted: &Hosted) -> Option<String> {
    let id = &hosted.meeting.id;
    let is_number = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0');
    let key = match hosted.meeting.kind {
        MeetingKind::Meeting => "meeting_number",
        MeetingKind::Webinar => "webinar_number",
    };
    is_number.then(|| format!(r#""{key}":"{id}""#))
}
