//! Errors of any call, of reading, and of jobs.

use super::{Call, at_once, never, shown};
use crate::Code;

pub(super) const ANY_CALL: Call = Call {
    name: "Any call",
    errors: &[
        at_once(
            Code::BadValue,
            "crates/rest/tests/rest/changes.rs::a_wrong_patch_is_refused_and_changes_nothing",
        ),
        at_once(
            Code::UnknownUrl,
            "crates/rest/tests/rest/plumbing.rs::what_is_not_there_is_told_apart",
        ),
        at_once(
            Code::MethodNotAllowed,
            "crates/rest/tests/rest/refused.rs::nothing_else_is_open_to_the_method",
        ),
        at_once(
            Code::NoEntry,
            "crates/rest/tests/rest/plumbing.rs::what_is_not_there_is_told_apart",
        ),
        at_once(
            Code::Forbidden,
            "crates/rest/tests/rest/users.rs::each_role_may_do_its_own_and_no_more",
        ),
        at_once(
            Code::UnexpectedArgument,
            "crates/rest/tests/rest/plumbing.rs::parameters_of_collections_are_tolerated_on_single_objects",
        ),
        at_once(
            Code::InvalidField,
            "crates/rest/tests/rest/plumbing.rs::parameters_of_collections_are_tolerated_on_single_objects",
        ),
        at_once(
            Code::NotAuthorized,
            "crates/rest/tests/rest/plumbing.rs::only_the_right_password_gets_in",
        ),
        at_once(
            Code::BodyTooLarge,
            "crates/rest/tests/rest/changes.rs::a_body_has_a_bound",
        ),
        at_once(
            Code::TemporarilyUnavailable,
            "crates/rest/tests/rest/plumbing.rs::a_mirror_says_its_age_and_never_that_something_does_not_exist",
        ),
        at_once(
            Code::OutcomeUnknown,
            "crates/rest/tests/rest/refused.rs::a_change_whose_outcome_is_lost_is_no_reason_to_ask_again",
        ),
        at_once(
            Code::Duplicate,
            "crates/rest/tests/rest/users.rs::the_last_admin_stays_and_weak_or_odd_users_are_refused",
        ),
        at_once(
            Code::InUse,
            "crates/rest/tests/rest/users.rs::the_last_admin_stays_and_weak_or_odd_users_are_refused",
        ),
        never(
            262155,
            "The field needs a higher effective cluster version.",
            "Every daemon of a cluster understands every field of 9.10.1.",
        ),
        never(
            262247,
            "The value is invalid for the field.",
            "262197 says it, with the values that are valid.",
        ),
        never(
            262248,
            "A delimiter is missing.",
            "262197 says it, with what is missing.",
        ),
    ],
};

pub(super) const GET_CLUSTER_SOFTWARE: Call = Call {
    name: "GET /cluster/software",
    errors: &[
        shown(
            0,
            "Success",
            "status_details.issue.code",
            "crates/record/tests/typed/projections.rs::an_installation_has_the_codes_of_the_original",
        ),
        shown(
            10551399,
            "Image update complete",
            "status_details.issue.code",
            "crates/record/tests/typed/projections.rs::an_installation_has_the_codes_of_the_original",
        ),
        shown(
            10551400,
            "Installing software image.",
            "status_details.issue.code",
            "crates/record/tests/typed/projections.rs::an_installation_has_the_codes_of_the_original",
        ),
        never(
            3,
            "<message catalog text>",
            "A placeholder of the document in a firmware worker's state.",
        ),
        never(
            1048576,
            "The image information is not initialized.",
            "A node that has not said what it runs has the version \"unknown\".",
        ),
        never(
            1048577,
            "The image information is being initialized.",
            "A node that has not said what it runs has the version \"unknown\".",
        ),
    ],
};

pub(super) const PATCH_CLUSTER_JOBS_UUID: Call = Call {
    name: "PATCH /cluster/jobs/{uuid}",
    errors: &[
        at_once(
            Code::NoEntry,
            "crates/rest/tests/rest/jobs.rs::a_job_that_is_not_there_cannot_be_stopped_either",
        ),
        at_once(
            Code::RequiredField,
            "crates/rest/tests/rest/jobs.rs::no_job_of_ours_can_be_stopped_by_itself",
        ),
        at_once(
            Code::CannotSet,
            "crates/rest/tests/rest/jobs.rs::no_job_of_ours_can_be_stopped_by_itself",
        ),
        at_once(
            Code::NotInBody,
            "crates/rest/tests/rest/jobs.rs::no_job_of_ours_can_be_stopped_by_itself",
        ),
        at_once(
            Code::JobIsOver,
            "crates/rest/tests/rest/jobs.rs::no_job_of_ours_can_be_stopped_by_itself",
        ),
        at_once(
            Code::JobIsRunning,
            "crates/rest/tests/rest/jobs.rs::no_job_of_ours_can_be_stopped_by_itself",
        ),
        at_once(
            Code::JobCannotPause,
            "crates/rest/tests/rest/jobs.rs::no_job_of_ours_can_be_stopped_by_itself",
        ),
        at_once(
            Code::JobCannotCancel,
            "crates/rest/tests/rest/jobs.rs::no_job_of_ours_can_be_stopped_by_itself",
        ),
        never(
            458773,
            "The job manager is not initialized.",
            "Jobs are folded from the record: a node that has never read it answers 503.",
        ),
        never(
            458776,
            "The job is not running.",
            "458762 says that it is over; a job that is not over runs.",
        ),
    ],
};
