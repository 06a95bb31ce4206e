//! The record's backend.

use std::sync::Arc;

use anyhow::{Context, Result};
use evenkeel_model::{EtcdSettings, NodeSettings, RecordSettings};
use evenkeel_platform::SharedPlatform;
use evenkeel_record::{EtcdOptions, EtcdRecord, OpenError, Record, SqliteOptions, SqliteRecord};
use evenkeel_seam::Clock;

use crate::error::chain;
use crate::late::LateRecord;
use crate::pool::PoolRecord;

/// The record, and its other half where it is on the pair's pool.
pub(crate) struct Opened {
    pub(crate) record: Arc<dyn Record>,
    pub(crate) pool: Option<PoolRecord>,
}

impl Opened {
    fn alone(record: Arc<dyn Record>) -> Self {
        Self { record, pool: None }
    }
}

/// A record that does not open is no reason not to serve: it is tried again for as long as it takes.
pub(crate) fn open(
    settings: &NodeSettings,
    clock: &Arc<dyn Clock>,
    platform: &SharedPlatform,
) -> Result<Opened> {
    Ok(match &settings.record {
        RecordSettings::Sqlite { path } => {
            Opened::alone(sqlite(settings, path.clone(), Arc::clone(clock)))
        }
        RecordSettings::Etcd(etcd) => Opened::alone(on_etcd(etcd)),
        RecordSettings::SharedPool(shared) => {
            let pool = PoolRecord::start(settings, shared, clock, platform);
            let pool = pool.context("cannot follow the seat of the pool's record")?;
            Opened {
                record: Arc::clone(&pool.record) as Arc<dyn Record>,
                pool: Some(pool),
            }
        }
    })
}

fn sqlite(
    settings: &NodeSettings,
    path: std::path::PathBuf,
    clock: Arc<dyn Clock>,
) -> Arc<dyn Record> {
    // A lab's file stands outside its nodes, a controller's goes down with it.
    let host = settings.lab.is_none().then(|| settings.node.clone());
    let opener = Arc::new(move || -> Result<Arc<dyn Record>, String> {
        let mut options =
            SqliteOptions::new(Arc::clone(&clock)).map_err(|error| error.to_string())?;
        options.host = host.clone();
        let opened = SqliteRecord::open(&path, options);
        let record =
            opened.map_err(|error: OpenError| format!("{}: {}", path.display(), chain(&error)))?;
        Ok(Arc::new(record))
    });
    LateRecord::open(Box::new(move || {
        let opener = Arc::clone(&opener);
        Box::pin(async move {
            let opened = tokio::task::spawn_blocking(move || opener()).await;
            opened.map_err(|error| error.to_string()).flatten()
        })
    }))
}

fn on_etcd(settings: &EtcdSettings) -> Arc<dyn Record> {
    let options = EtcdOptions::new(settings);
    LateRecord::open(Box::new(move || {
        let options = options.clone();
        Box::pin(async move {
            let opened = EtcdRecord::open(options).await;
            Ok(Arc::new(opened.map_err(|error| chain(&error))?) as Arc<dyn Record>)
        })
    }))
}
