//! Delivers chunks to an HTTP endpoint, and tries again until one is acknowledged.
//!
//! A chunk is acknowledged by a status of 2xx and by nothing else. After an error of the connection, 408, 429 and 5xx it
//! is sent again, after a while that doubles each time; other statuses say that it would be refused again. An endpoint
//! may therefore see a chunk twice, under the same `Idempotency-Key`.

use std::thread;
use std::time::Duration;

use ureq::Agent;
use xxhash_rust::xxh3::xxh3_128;

use crate::limits::ENDPOINT_ANSWER_BYTES_MAX;

const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Of one attempt.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Endpoint {
    agent: Agent,
    url: String,
    headers: Vec<(String, String)>,
    retries: u32,
    first_wait: Duration,
    pub retried: u64,
}

/// The result of an attempt.
enum Outcome {
    Acknowledged,
    Again(String),
    Refused(String),
}

impl Endpoint {
    /// `headers` are lines, `Name: value`. A chunk is sent again after `first_wait`, then after twice as long, and so on.
    pub fn new(
        url: &str,
        headers: &[String],
        retries: u32,
        first_wait: Duration,
    ) -> Result<Endpoint, String> {
        let split = |line: &String| {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!("'{line}' is not a header 'Name: value'"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        let headers = headers.iter().map(split).collect::<Result<_, String>>()?;
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Endpoint {
            agent: Agent::new_with_config(config),
            url: url.to_owned(),
            headers,
            retries,
            first_wait,
            retried: 0,
        })
    }

    /// Returns when the chunk is acknowledged, or with the reason why it will not be.
    pub fn deliver(&mut self, body: &[u8], content_type: &str) -> Result<(), String> {
        let mut wait = self.first_wait;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.attempt(body, content_type) {
                Outcome::Acknowledged => return Ok(()),
                Outcome::Refused(why) => return Err(format!("{} refused a chunk: {why}", self.url)),
                Outcome::Again(why) if attempts > self.retries => {
                    return Err(format!("{} accepted no chunk in {attempts} attempts: {why}", self.url));
                }
                Outcome::Again(_) => {}
            }
            self.retried += 1;
            thread::sleep(wait);
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    fn attempt(&self, body: &[u8], content_type: &str) -> Outcome {
        let mut request = self
            .agent
            .post(&self.url)
            .header("Content-Type", content_type)
            .header("Idempotency-Key", format!("{:032x}", xxh3_128(body)));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = match request.send(body) {
            Ok(response) => response,
            Err(ureq::Error::BadUri(why)) => return Outcome::Refused(why),
            Err(ureq::Error::Http(error)) => return Outcome::Refused(error.to_string()),
            Err(error) => return Outcome::Again(error.to_string()),
        };
        let status = response.status();
        // read to its end, the connection can be used again; what it says matters only for a person
        let answer = response.body_mut().with_config().limit(ENDPOINT_ANSWER_BYTES_MAX).read_to_vec();
        if status.is_success() {
            return Outcome::Acknowledged;
        }
        let answer = answer.unwrap_or_default();
        let why = format!("{status} {}", String::from_utf8_lossy(&answer).escape_debug());
        let why = why.chars().take(200).collect::<String>().trim_end().to_owned();
        match status.as_u16() {
            408 | 429 | 500.. => Outcome::Again(why),
            _ => Outcome::Refused(why),
        }
    }
}
