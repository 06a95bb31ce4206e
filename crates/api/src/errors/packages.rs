//! Errors of packages on their way in and out.

use super::{Call, at_once, in_job, never, shown};
use crate::Code;

pub(super) const GET_CLUSTER_SOFTWARE_DOWNLOAD: Call = Call {
    name: "GET /cluster/software/download",
    errors: &[
        shown(
            10551760,
            "Package download in progress",
            "code",
            "crates/rest/tests/rest/door.rs::a_downloaded_package_is_in_the_catalogue_and_one_comes_at_a_time",
        ),
        shown(
            10551381,
            "The package could not be downloaded.",
            "code",
            "crates/rest/tests/rest/door.rs::a_download_that_fails_says_why_in_its_job_and_leaves_nothing",
        ),
        never(
            10551382,
            "Package download is still running.",
            "The state is running and the code 10551760.",
        ),
        never(
            10551383,
            "The download ran into its limit of one hour.",
            "A download has no limit as long as it moves; one that does not ends with 10551381.",
        ),
        never(
            10551496,
            "Package download in progress",
            "The document's example shows it beside the state success; it means that a firmware file already exists.",
        ),
    ],
};

pub(super) const POST_CLUSTER_SOFTWARE_DOWNLOAD: Call = Call {
    name: "POST /cluster/software/download",
    errors: &[
        at_once(
            Code::RequiredField,
            "crates/rest/tests/rest/changes.rs::a_download_that_cannot_be_is_refused_at_once_without_repeating_its_secrets",
        ),
        at_once(
            Code::UrlSyntax,
            "crates/rest/tests/rest/changes.rs::a_download_that_cannot_be_is_refused_at_once_without_repeating_its_secrets",
        ),
        at_once(
            Code::UrlScheme,
            "crates/rest/tests/rest/changes.rs::a_download_that_cannot_be_is_refused_at_once_without_repeating_its_secrets",
        ),
        at_once(
            Code::BadUrl,
            "crates/rest/tests/rest/changes.rs::a_download_that_cannot_be_is_refused_at_once_without_repeating_its_secrets",
        ),
        at_once(
            Code::CannotSet,
            "crates/rest/tests/rest/changes.rs::a_download_that_cannot_be_is_refused_at_once_without_repeating_its_secrets",
        ),
        at_once(
            Code::NotInBody,
            "crates/rest/tests/rest/changes.rs::a_download_that_cannot_be_is_refused_at_once_without_repeating_its_secrets",
        ),
        at_once(
            Code::InvalidField,
            "crates/rest/tests/rest/changes.rs::a_download_that_cannot_be_is_refused_at_once_without_repeating_its_secrets",
        ),
        at_once(
            Code::GetInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::UpdateInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::ValidationInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::PackageBeingDeleted,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::CannotCreateTask,
            "crates/rest/tests/rest/refused.rs::without_the_record_nothing_is_begun",
        ),
        in_job(
            Code::PackageExists,
            "tests/python/test_download.py::test_the_way_of_ansible",
        ),
        in_job(
            Code::ProcessingFailed,
            "crates/rest/tests/rest/door.rs::a_download_that_fails_says_why_in_its_job_and_leaves_nothing",
        ),
        in_job(
            Code::DownloadFailed,
            "crates/rest/tests/rest/door.rs::a_download_that_fails_says_why_in_its_job_and_leaves_nothing",
        ),
        in_job(
            Code::UploadNoSpace,
            "crates/rest/tests/rest/door.rs::a_package_that_does_not_fit_elsewhere_is_not_fetched",
        ),
        in_job(
            Code::GetFailed,
            "crates/rest/tests/rest/refused.rs::a_get_that_cannot_go_on_after_a_restart_fails_its_job",
        ),
        never(
            18408,
            "A package with the same name exists.",
            "A code of the older ZAPI interface; 10551327 says it.",
        ),
        never(
            2228324,
            "Failed to access the remote zip file on node.",
            "Firmware is fetched as packages are: a download that fails says so in its own job, with 10551381.",
        ),
        shown(
            2228325,
            "Cannot open local staging ZIP file",
            "nodes.firmware.cluster_fw_progress.update_states.code",
            "crates/firmware/src/node/failure.rs::an_image_that_is_not_had_has_its_codes",
        ),
        shown(
            2228326,
            "File copy to local staging failed.",
            "error.code of the job of the firmware update",
            "crates/planner/tests/planner/firmware.rs::a_package_that_is_gone_or_with_nobody_is_told",
        ),
        never(
            2228327,
            "Firmware file already exists.",
            "The same firmware again is taken as such, and brings the devices up to date that are left.",
        ),
        shown(
            2228328,
            "Firmware update of node failed.",
            "nodes.firmware.cluster_fw_progress.update_states.code",
            "crates/planner/tests/planner/firmware.rs::what_passes_is_tried_again_and_what_does_not_is_told",
        ),
        shown(
            2228329,
            "Attempt to start worker on node failed",
            "error.code of the job of the firmware update",
            "crates/planner/tests/planner/firmware.rs::nothing_is_written_while_a_partner_serves_for_two",
        ),
        shown(
            2228330,
            "Uploaded firmware file is not present.",
            "error.code of the job of the firmware update",
            "crates/planner/tests/planner/firmware.rs::a_package_that_is_gone_or_with_nobody_is_told",
        ),
        never(
            2228331,
            "Copy of file from webserver failed.",
            "Nodes copy firmware from each other as they do packages: one that cannot says 2228326.",
        ),
        shown(
            2228428,
            "Firmware update completed with errors",
            "error.code of the job of the firmware update",
            "crates/planner/tests/planner/firmware.rs::a_node_that_fails_keeps_no_other_from_theirs",
        ),
        never(
            2228429,
            "Firmware update completed.",
            "A success is a job's message here, with code 0: clients take any other code for an error.",
        ),
        never(
            10551384,
            "The download was not started.",
            "A download whose job was answered is started.",
        ),
        never(
            10551392,
            "The download failed for an internal reason.",
            "10551391 says it.",
        ),
        never(
            10551496,
            "Firmware file already exists",
            "The same firmware again is taken as such, and brings the devices up to date that are left.",
        ),
        never(
            10551797,
            "Internal error. Failed to check if file upload is enabled.",
            "A download does not depend on it.",
        ),
        never(
            10551859,
            "The package repository and its backup cannot be reached.",
            "10551381 says what the server answered.",
        ),
        never(
            10551892,
            "A node is not healthy.",
            "A node that does not answer does not stand in the way: it pulls the package when it returns, and the job's message names it.",
        ),
    ],
};

pub(super) const POST_CLUSTER_SOFTWARE_UPLOAD: Call = Call {
    name: "POST /cluster/software/upload",
    errors: &[
        at_once(
            Code::UploadNotMultipart,
            "crates/rest/tests/rest/changes.rs::an_upload_that_is_not_one_file_leaves_nothing",
        ),
        at_once(
            Code::UploadSingleFile,
            "crates/rest/tests/rest/changes.rs::an_upload_that_is_not_one_file_leaves_nothing",
        ),
        at_once(
            Code::UploadUnknown,
            "crates/rest/tests/rest/changes.rs::an_upload_that_is_not_one_file_leaves_nothing",
        ),
        at_once(
            Code::UploadNoSpace,
            "crates/rest/tests/rest/changes.rs::an_upload_that_is_not_one_file_leaves_nothing",
        ),
        at_once(
            Code::UploadNameTooLong,
            "crates/rest/tests/rest/changes.rs::the_name_of_a_file_has_a_bound",
        ),
        at_once(
            Code::UploadTooSlow,
            "crates/rest/tests/rest/refused.rs::a_client_that_goes_silent_is_given_up",
        ),
        at_once(
            Code::UploadDisabled,
            "crates/rest/tests/rest/refused.rs::a_cluster_may_take_no_uploads",
        ),
        at_once(
            Code::UploadIo,
            "crates/rest/tests/rest/refused.rs::a_store_that_cannot_be_written_to_says_where",
        ),
        at_once(
            Code::UploadPermission,
            "crates/rest/src/incoming.rs::each_reason_why_a_file_cannot_be_written_has_its_code",
        ),
        at_once(
            Code::UploadHandle,
            "crates/rest/src/incoming.rs::each_reason_why_a_file_cannot_be_written_has_its_code",
        ),
        at_once(
            Code::UploadSetup,
            "crates/rest/src/incoming.rs::each_reason_why_a_file_cannot_be_written_has_its_code",
        ),
        at_once(
            Code::UploadReadOnly,
            "crates/rest/src/incoming.rs::each_reason_why_a_file_cannot_be_written_has_its_code",
        ),
        at_once(
            Code::GetInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::UpdateInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::ValidationInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::PackageBeingDeleted,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::CannotCreateTask,
            "crates/rest/tests/rest/refused.rs::without_the_record_nothing_is_begun",
        ),
        in_job(
            Code::ProcessingFailed,
            "crates/rest/tests/rest/door.rs::a_package_that_is_not_proven_leaves_a_failed_job_and_nothing_else",
        ),
        in_job(
            Code::PackageExists,
            "crates/cli/tests/lab/refusals.rs::bad_packages_and_untimely_requests_are_refused",
        ),
        in_job(
            Code::GetFailed,
            "crates/rest/tests/rest/refused.rs::a_get_that_cannot_go_on_after_a_restart_fails_its_job",
        ),
        never(
            18408,
            "A package with the same name exists.",
            "A code of the older ZAPI interface; 10551327 says it.",
        ),
        never(
            2228324,
            "Failed to access the remote zip file on node.",
            "Firmware is fetched as packages are: a download that fails says so in its own job, with 10551381.",
        ),
        shown(
            2228325,
            "Cannot open local staging ZIP file",
            "nodes.firmware.cluster_fw_progress.update_states.code",
            "crates/firmware/src/node/failure.rs::an_image_that_is_not_had_has_its_codes",
        ),
        shown(
            2228326,
            "File copy to local staging failed.",
            "error.code of the job of the firmware update",
            "crates/planner/tests/planner/firmware.rs::a_package_that_is_gone_or_with_nobody_is_told",
        ),
        never(
            2228327,
            "Firmware file already exists.",
            "The same firmware again is taken as such, and brings the devices up to date that are left.",
        ),
        shown(
            2228328,
            "Firmware update of node failed.",
            "nodes.firmware.cluster_fw_progress.update_states.code",
            "crates/planner/tests/planner/firmware.rs::what_passes_is_tried_again_and_what_does_not_is_told",
        ),
        shown(
            2228329,
            "Attempt to start worker on node failed",
            "error.code of the job of the firmware update",
            "crates/planner/tests/planner/firmware.rs::nothing_is_written_while_a_partner_serves_for_two",
        ),
        shown(
            2228330,
            "Uploaded firmware file is not present.",
            "error.code of the job of the firmware update",
            "crates/planner/tests/planner/firmware.rs::a_package_that_is_gone_or_with_nobody_is_told",
        ),
        never(
            2228331,
            "Copy of file from webserver failed.",
            "Nodes copy firmware from each other as they do packages: one that cannot says 2228326.",
        ),
        shown(
            2228428,
            "Firmware update completed with errors",
            "error.code of the job of the firmware update",
            "crates/planner/tests/planner/firmware.rs::a_node_that_fails_keeps_no_other_from_theirs",
        ),
        never(
            2228429,
            "Firmware update completed.",
            "A success is a job's message here, with code 0: clients take any other code for an error.",
        ),
        never(
            10551392,
            "The upload failed for an internal reason.",
            "10551391 says it.",
        ),
        never(
            10551496,
            "Firmware file already exists",
            "The same firmware again is taken as such, and brings the devices up to date that are left.",
        ),
        never(
            10551797,
            "Internal error. Failed to check if file upload is enabled.",
            "A daemon that cannot read its configuration does not start.",
        ),
        never(
            10551892,
            "A node is not healthy.",
            "A node that does not answer does not stand in the way: it pulls the package when it returns, and the job's message names it.",
        ),
    ],
};

pub(super) const DELETE_CLUSTER_SOFTWARE_PACKAGES_VERSION: Call = Call {
    name: "DELETE /cluster/software/packages/{version}",
    errors: &[
        at_once(
            Code::CannotSet,
            "crates/rest/tests/rest/deletes.rs::a_body_has_nothing_to_say_of_one",
        ),
        at_once(
            Code::NotInBody,
            "crates/rest/tests/rest/deletes.rs::a_body_has_nothing_to_say_of_one",
        ),
        at_once(
            Code::StoreEmpty,
            "crates/rest/tests/rest/refused.rs::a_package_that_is_not_there_is_told_from_a_store_without_any",
        ),
        at_once(
            Code::NoPackage,
            "crates/rest/tests/rest/refused.rs::a_package_that_is_not_there_is_told_from_a_store_without_any",
        ),
        at_once(
            Code::DeleteDuringValidation,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::DeleteDuringUpdate,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::SyncInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::PackageBeingDeleted,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::CannotCreateTask,
            "crates/rest/tests/rest/refused.rs::without_the_record_nothing_is_begun",
        ),
        in_job(
            Code::CleanupOnNode,
            "crates/planner/tests/planner/packages.rs::a_delete_names_who_is_silent_and_fails_on_who_keeps_it",
        ),
        in_job(
            Code::CleanupOnNodes,
            "crates/planner/tests/planner/packages.rs::a_delete_names_who_is_silent_and_fails_on_who_keeps_it",
        ),
        in_job(
            Code::DeleteTimedOut,
            "crates/planner/tests/planner/packages.rs::a_delete_that_nobody_says_anything_about_times_out",
        ),
        never(
            10551322,
            "Error in retrieving package cleanup status",
            "The status is folded from the record, on every node.",
        ),
        never(
            10551326,
            "Error in deleting older package cleanup tasks",
            "There is no list of tasks to clean up: a delete that has not ended refuses the next with 10551354, and nodes go on by themselves.",
        ),
        never(
            10551892,
            "A node is not healthy.",
            "A node that does not answer does not stand in the way: it removes the package when it returns, and the job's message names it.",
        ),
    ],
};

pub(super) const DELETE_CLUSTER_SOFTWARE_PACKAGES: Call = Call {
    name: "DELETE /cluster/software/packages",
    errors: &[
        at_once(
            Code::RequiredField,
            "crates/rest/tests/rest/deletes.rs::nothing_is_deleted_without_a_condition",
        ),
        at_once(
            Code::FieldConflict,
            "crates/rest/tests/rest/deletes.rs::nothing_is_deleted_without_a_condition",
        ),
        at_once(
            Code::CannotSet,
            "crates/rest/tests/rest/deletes.rs::nothing_is_deleted_without_a_condition",
        ),
        at_once(
            Code::InvalidField,
            "crates/rest/tests/rest/deletes.rs::nothing_is_deleted_without_a_condition",
        ),
        at_once(
            Code::NotInBody,
            "crates/rest/tests/rest/deletes.rs::nothing_is_deleted_without_a_condition",
        ),
        at_once(
            Code::UnexpectedArgument,
            "crates/rest/tests/rest/deletes.rs::nothing_is_deleted_without_a_condition",
        ),
        at_once(
            Code::StoreEmpty,
            "crates/rest/tests/rest/deletes.rs::what_refuses_one_refuses_many",
        ),
        at_once(
            Code::NoPackage,
            "crates/rest/tests/rest/deletes.rs::what_refuses_one_refuses_many",
        ),
        at_once(
            Code::DeleteDuringValidation,
            "crates/rest/tests/rest/deletes.rs::what_refuses_one_refuses_many",
        ),
        at_once(
            Code::DeleteDuringUpdate,
            "crates/rest/tests/rest/deletes.rs::what_refuses_one_refuses_many",
        ),
        at_once(
            Code::PackageBeingDeleted,
            "crates/rest/tests/rest/deletes.rs::what_refuses_one_refuses_many",
        ),
        at_once(
            Code::SyncInProgress,
            "crates/rest/tests/rest/deletes.rs::what_refuses_one_refuses_many",
        ),
        at_once(
            Code::CannotCreateTask,
            "crates/rest/tests/rest/deletes.rs::what_refuses_one_refuses_many",
        ),
        in_job(
            Code::CleanupOnNode,
            "crates/planner/tests/planner/packages.rs::a_delete_names_who_is_silent_and_fails_on_who_keeps_it",
        ),
        in_job(
            Code::CleanupOnNodes,
            "crates/planner/tests/planner/packages.rs::a_delete_names_who_is_silent_and_fails_on_who_keeps_it",
        ),
        in_job(
            Code::DeleteTimedOut,
            "crates/planner/tests/planner/packages.rs::a_delete_that_nobody_says_anything_about_times_out",
        ),
    ],
};
