//! A line to the object store: one request at a time, and a pause after one that failed.

use super::message::{Line, Millis, Output, Request, Ticket};

#[derive(Debug)]
pub struct Requests {
    line: Line,
    /// The number of the latest request.
    number: u64,
    /// Its answer is still to come, and matters.
    is_waiting: bool,
    not_before: Millis,
}

impl Requests {
    pub fn new(line: Line) -> Requests {
        Requests { line, number: 0, is_waiting: false, not_before: 0 }
    }

    pub fn is_free(&self, now: Millis) -> bool {
        !self.is_waiting && now >= self.not_before
    }

    pub fn send(&mut self, request: Request, out: &mut Vec<Output>) {
        self.number += 1;
        self.is_waiting = true;
        out.push(Output::Send(Ticket { line: self.line, number: self.number }, request));
    }

    /// Whether this answer is to the latest request. Any other one is too late to matter.
    pub fn accept(&mut self, ticket: Ticket) -> bool {
        let matters = self.is_waiting && ticket == Ticket { line: self.line, number: self.number };
        self.is_waiting &= !matters;
        matters
    }

    /// The answer to the latest request no longer matters.
    pub fn forget(&mut self) {
        self.is_waiting = false;
    }

    pub fn pause_until(&mut self, at: Millis) {
        self.not_before = at;
    }
}
