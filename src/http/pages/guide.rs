//! The pages that do not change while the service runs: the front page and the caller's guide.

use askama::Template;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// The guide's Markdown, which is also the document in the repository.
const GUIDE: &str = include_str!("../../../docs/CALLERS.md");

#[derive(Template)]
#[template(path = "front.html", config = "src/http/pages/askama.toml")]
struct FrontPage;

#[derive(Template)]
#[template(path = "guide.html", config = "src/http/pages/askama.toml")]
struct GuidePage {
    html: String,
}

pub(crate) fn front() -> String {
    FrontPage.render().unwrap_or_default()
}

pub(crate) fn guide() -> String {
    GuidePage { html: from_markdown(GUIDE) }.render().unwrap_or_default()
}

/// Renders Markdown. Only links within the guide and to `https` URLs are kept, because the service does not have the
/// other files of the repository. Headings get the ids that the links within the guide use.
fn from_markdown(markdown: &str) -> String {
    let events: Vec<_> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let mut link_is_kept = Vec::new();
    let mut shown = Vec::with_capacity(events.len());
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                let is_kept = dest_url.starts_with('#') || dest_url.starts_with("https://");
                link_is_kept.push(is_kept);
                if is_kept {
                    shown.push(event.clone());
                }
            }
            Event::End(TagEnd::Link) => {
                if link_is_kept.pop().unwrap_or(true) {
                    shown.push(event.clone());
                }
            }
            Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
                let id = Some(CowStr::from(heading_id(events.get(at + 1..).unwrap_or_default())));
                let (level, classes, attrs) = (*level, classes.clone(), attrs.clone());
                shown.push(Event::Start(Tag::Heading { level, id, classes, attrs }));
            }
            // The guide has no HTML of its own.
            Event::Html(text) | Event::InlineHtml(text) => shown.push(Event::Text(text.clone())),
            other => shown.push(other.clone()),
        }
    }
    let mut page = String::with_capacity(2 * markdown.len());
    html::push_html(&mut page, shown.into_iter());
    page
}

/// Returns the id that GitHub gives a heading: `Keys and tokens` becomes `keys-and-tokens`.
fn heading_id(after: &[Event<'_>]) -> String {
    let heading = after.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let text = heading.filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(text.to_lowercase()),
        _ => None,
    });
    let words = text.collect::<String>().replace(' ', "-");
    words.chars().filter(|character| character.is_alphanumeric() || *character == '-').collect()
}
