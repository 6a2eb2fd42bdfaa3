//! The pages for people: HTML made of templates, which escape by type. Nothing is loaded from elsewhere.
//!
//! This folder renders; [`super::browser`] finds what is to be rendered, and responds with it.

mod guide;
mod layout;
mod meeting;
mod meeting_words;
mod problem_page;
mod row;

pub(super) use self::{
    guide::{front, guide},
    layout::content_security_policy,
    meeting::{MeetingPage, StaleReason},
    problem_page::{ProblemPage, ZoomWords},
};
