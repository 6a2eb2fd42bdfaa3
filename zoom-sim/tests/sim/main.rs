//! The simulator as its clients see it: raw requests over TCP against a simulator on its own port.

#[cfg(test)]
mod client;

#[cfg(test)]
mod binary;
#[cfg(test)]
mod encodings;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod meetings;
#[cfg(test)]
mod oauth;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod participants;
#[cfg(test)]
mod webinars;
