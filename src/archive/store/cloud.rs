//! Object storage: S3 and what is compatible, Google Cloud Storage, Azure. Credentials, region and endpoint come from the
//! environment variables that the tools of these providers use.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
    UpdateVersion,
};
use tokio::runtime::Runtime;
use url::Url;

use super::{Fault, Found, Listed, Put, Store, Trouble, Version};

#[derive(Debug)]
pub struct Cloud {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    place: String,
    /// Runs the requests of all threads that block for one.
    runtime: Runtime,
}

impl Cloud {
    /// The store of a URL that [`Place`](super::Place) has checked.
    pub fn open(url: &Url, timeout: Duration) -> Result<Cloud, String> {
        // may be done already, and then by us
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let allows_http = ["AWS_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP", "AZURE_ALLOW_HTTP"].iter().any(|name| {
            std::env::var(name).is_ok_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
        });
        let options = ClientOptions::new().with_timeout(timeout).with_allow_http(allows_http);
        // requests are repeated by whoever made them, who knows what a lost answer means
        let retry = RetryConfig { max_retries: 0, retry_timeout: timeout, ..RetryConfig::default() };
        let (text, name) = (url.to_string(), url.host_str().unwrap_or_default());
        let store: Result<Arc<dyn ObjectStore>, Error> = match url.scheme() {
            "s3" => AmazonS3Builder::from_env()
                .with_bucket_name(name)
                .with_client_options(options)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(name)
                .with_client_options(options)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            _ => MicrosoftAzureBuilder::from_env()
                .with_container_name(name)
                .with_client_options(options)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
        };
        let store = store
            .map_err(|error| format!("the archive {text} can't be used: {}", Fault::of_cloud(&error)))?;
        let prefix = Path::from_url_path(url.path()).map_err(|error| format!("{text}: {error}"))?;
        Cloud::over(store, prefix, text)
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub fn in_memory() -> Cloud {
        let store = Arc::new(object_store::memory::InMemory::new());
        Cloud::over(store, Path::from("prefix"), "memory".to_owned()).unwrap()
    }

    fn over(store: Arc<dyn ObjectStore>, prefix: Path, place: String) -> Result<Cloud, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the archive's requests can't be run: {error}"))?;
        Ok(Cloud { store, prefix, place, runtime })
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }

    fn put(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<Put, Fault> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let path = self.path(name);
        let put = self.store.put_opts(&path, PutPayload::from_bytes(bytes), options);
        match self.runtime.block_on(put) {
            Ok(put) => Ok(Put::Done(Version { tag: put.e_tag, number: put.version })),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Put::Refused),
            Err(error) => Err(Fault::of_cloud(&error)),
        }
    }
}

impl Store for Cloud {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn get(&self, name: &str, bytes_max: u64) -> Result<Option<Found>, Fault> {
        let path = self.path(name);
        let found = self.runtime.block_on(async {
            let found = self.store.get(&path).await?;
            if found.meta.size > bytes_max {
                return Ok(Err(found.meta.size));
            }
            let version = Version { tag: found.meta.e_tag.clone(), number: found.meta.version.clone() };
            Ok(Ok(Found { bytes: found.bytes().await?, version }))
        });
        match found {
            Ok(Ok(found)) => Ok(Some(found)),
            Ok(Err(bytes)) => {
                let why = format!("{path} has {bytes} bytes, more than {bytes_max}");
                Err(Fault::new(Trouble::Failed, why))
            }
            Err(error @ Error::NotFound { .. }) => match Fault::of_cloud(&error) {
                // a bucket that is missing must not pass for an archive that is empty
                fault if fault.why.contains("NoSuchBucket") || fault.why.contains("ContainerNotFound") => {
                    Err(fault)
                }
                _ => Ok(None),
            },
            Err(error) => Err(Fault::of_cloud(&error)),
        }
    }

    fn start(&self, name: &str, bytes: u64) -> Result<Option<Bytes>, Fault> {
        let path = self.path(name);
        match self.runtime.block_on(self.store.get_range(&path, 0..bytes)) {
            Ok(start) => Ok(Some(start)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Fault::of_cloud(&error)),
        }
    }

    fn create(&self, name: &str, bytes: Bytes) -> Result<Put, Fault> {
        self.put(name, bytes, PutMode::Create)
    }

    fn replace(&self, name: &str, bytes: Bytes, version: &Version) -> Result<Put, Fault> {
        let Version { tag, number } = version.clone();
        self.put(name, bytes, PutMode::Update(UpdateVersion { e_tag: tag, version: number }))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, Fault> {
        let prefix = self.path(folder.trim_end_matches('/'));
        let prefix = (!prefix.as_ref().is_empty()).then_some(prefix);
        let objects = self.runtime.block_on(self.store.list(prefix.as_ref()).try_collect::<Vec<_>>());
        let objects = objects.map_err(|error| Fault::of_cloud(&error))?;
        let above = if self.prefix.as_ref().is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let mut listed: Vec<Listed> = objects
            .into_iter()
            .filter_map(|object| {
                let name = object.location.as_ref().strip_prefix(&above)?.to_owned();
                Some(Listed { name, bytes: object.size })
            })
            .collect();
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        let path = self.path(name);
        match self.runtime.block_on(self.store.delete(&path)) {
            Err(Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(|error| Fault::of_cloud(&error)),
        }
    }
}
