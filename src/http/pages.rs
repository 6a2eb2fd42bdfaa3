//! The pages for people: HTML made of templates, which escape by type. Nothing is loaded from elsewhere.
//!
//! This folder renders. [`super::browser`] gets the data to render, and responds with the result.

mod guide;
pub(super) mod layout;
mod meeting;
mod meeting_words;
mod row;

pub(super) use self::{
    guide::{front, guide},
    layout::content_security_policy,
    meeting::{MeetingPage, StaleReason},
};
