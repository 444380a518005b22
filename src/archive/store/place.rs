//! The text that says where an archive is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

/// Where an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Directory(PathBuf),
    /// In object storage; the path of the URL is the prefix of the names of all objects.
    Cloud {
        url: Url,
        text: String,
    },
}

const FORMS: &str = "name an archive like s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, file:///directory or /directory";

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let refused = |why: &str| Err(format!("'{text}' {why}; {FORMS}"));
        if text.chars().any(char::is_control) {
            return refused("contains control characters");
        }
        if let Some(path) = text.strip_prefix("file://") {
            return match path.starts_with('/') {
                true => Ok(Place::Directory(percent_decoded(path).into())),
                false => refused("names a directory of another host"),
            };
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return match text.is_empty() {
                false => Ok(Place::Directory(text.into())),
                true => refused("is empty"),
            };
        };
        if !["s3", "gs", "az"].contains(&scheme) {
            return refused("has a scheme that is not known");
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => return refused(&format!("is no URL ({error})")),
        };
        if url.host_str().unwrap_or_default().is_empty() {
            return refused("names no bucket");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("has credentials in it, which come from the environment");
        }
        if url.query().is_some() || url.fragment().is_some() || url.port().is_some() {
            return refused("has more than a bucket and a prefix");
        }
        if object_store::path::Path::from_url_path(url.path()).is_err() {
            return refused("has a prefix that object stores don't take");
        }
        Ok(Place::Cloud { url, text: text.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Directory(dir) => dir.display().fmt(out),
            Place::Cloud { text, .. } => out.write_str(text),
        }
    }
}

fn percent_decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood_or_refused_with_the_forms_there_are() {
        for (text, expected) in [
            ("/var/archive", "/var/archive"),
            ("archive", "archive"),
            ("file:///var/my%20archive", "/var/my archive"),
            ("s3://bucket/some/prefix", "s3://bucket/some/prefix"),
            ("s3://bucket", "s3://bucket"),
            ("gs://bucket/x", "gs://bucket/x"),
            ("az://container/x", "az://container/x"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), expected, "{text}");
        }
        for text in [
            "",
            "ftp://host/x",
            "http://bucket/x",
            "s3://",
            "s3:///prefix",
            "s3://key:secret@bucket/x",
            "s3://bucket:80/x",
            "s3://bucket/x?region=y",
            "s3://bucket/a//b",
            "file://host/dir",
            "dir\nother",
        ] {
            let refused = text.parse::<Place>().unwrap_err();
            assert!(refused.contains("s3://bucket/prefix"), "{text}: {refused}");
        }
    }
}
