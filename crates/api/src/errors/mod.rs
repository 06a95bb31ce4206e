//! Every error code of the document and of the real product's tables: which call answers it, when, and the test
//! that provokes it, or why it cannot occur here. `docs/error-codes.md` is made from this table.

mod general;
mod packages;
mod software;

use crate::Code;

/// A call and its errors.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Method and path.
    pub name: &'static str,
    /// Its errors.
    pub errors: &'static [Case],
}

/// One code at one call.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The number.
    pub number: u32,
    /// What it says when nothing more precise can be said.
    pub text: &'static str,
    /// When it is answered.
    pub when: When,
}

/// When a code is answered. Tests are named `file::function`.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// By the call itself; nothing was begun.
    AtOnce {
        /// Its HTTP status.
        status: u16,
        /// The test that provokes it.
        test: &'static str,
    },
    /// In the job; by the call only if that was told to wait and the job failed in that time.
    InJob {
        /// The HTTP status then.
        status: u16,
        /// The test that provokes it.
        test: &'static str,
    },
    /// In a field of an answer that is no error.
    Shown {
        /// Which.
        field: &'static str,
        /// The test that shows it.
        test: &'static str,
    },
    /// Not here.
    Never {
        /// Why not.
        why: &'static str,
    },
}

/// Every call with errors of its own.
pub const CALLS: &[Call] = &[
    general::ANY_CALL,
    general::GET_CLUSTER_SOFTWARE,
    software::PATCH_CLUSTER_SOFTWARE,
    packages::GET_CLUSTER_SOFTWARE_DOWNLOAD,
    packages::POST_CLUSTER_SOFTWARE_DOWNLOAD,
    packages::POST_CLUSTER_SOFTWARE_UPLOAD,
    packages::DELETE_CLUSTER_SOFTWARE_PACKAGES_VERSION,
    packages::DELETE_CLUSTER_SOFTWARE_PACKAGES,
    general::PATCH_CLUSTER_JOBS_UUID,
];

const fn at_once(code: Code, test: &'static str) -> Case {
    let status = code.class().http_status();
    Case {
        number: code.number(),
        text: code.text(),
        when: When::AtOnce { status, test },
    }
}

const fn in_job(code: Code, test: &'static str) -> Case {
    let status = code.class().http_status();
    Case {
        number: code.number(),
        text: code.text(),
        when: When::InJob { status, test },
    }
}

const fn shown(number: u32, text: &'static str, field: &'static str, test: &'static str) -> Case {
    Case {
        number,
        text,
        when: When::Shown { field, test },
    }
}

const fn never(number: u32, text: &'static str, why: &'static str) -> Case {
    Case {
        number,
        text,
        when: When::Never { why },
    }
}
