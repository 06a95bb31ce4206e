//! Error codes: one number, one HTTP status and one text each.

/// What a code tells the caller to do; it fixes the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request itself is wrong: 400.
    Invalid,
    /// Who is asking is unknown: 401.
    Unauthorized,
    /// The caller may not do this: 403.
    Forbidden,
    /// There is no such thing: 404.
    NotFound,
    /// The thing exists but not with this method: 405.
    Method,
    /// The state of the cluster does not allow it now: 409.
    Conflict,
    /// The body is longer than allowed: 413.
    TooLarge,
    /// Something failed in here: 500.
    Internal,
    /// Cannot be answered at the moment; try again: 503.
    Unavailable,
}

impl Class {
    /// The HTTP status.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Method => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $class:ident, $text:literal;)*) => {
        /// An error code of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $text] $name,)*
        }

        impl Code {
            /// Every code, in the order of declaration.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The number clients see.
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// What kind of error it is.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)* }
            }

            /// The text used when nothing more precise can be said.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The code with this number. `None` for numbers only another component knows. Where two
            /// codes share a number the first declared wins.
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.number() == number)
            }
        }
    };
}

codes! {
    Duplicate = 1, Conflict, "An entry with the same identifiers already exists.";
    BadValue = 2, Invalid, "A field has an invalid value, is missing, or an extra field was provided.";
    UnknownUrl = 3, NotFound, "API not found";
    MethodNotAllowed = 3, Method, "The method is not supported by this URL.";
    NoEntry = 4, NotFound, "entry doesn't exist";
    Forbidden = 6, Forbidden, "not authorized for that command";
    InUse = 8, Conflict, "The resource is in use and cannot be deleted.";
    UnexpectedArgument = 262179, Invalid, "Unexpected argument.";
    FieldConflict = 262186, Invalid, "The fields cannot be used together.";
    CannotSet = 262196, Invalid, "The field cannot be set in this operation.";
    InvalidField = 262197, Invalid, "The value is invalid for the field.";
    NotInBody = 262203, Invalid, "The field is not supported in the body of the request.";
    RequiredField = 262278, Invalid, "A required field is missing.";
    JobIsOver = 458762, Conflict, "The job is over, and stays as it is.";
    JobIsRunning = 458771, Conflict, "The job is running.";
    JobCannotPause = 458783, Invalid, "The job does not support pause.";
    JobCannotCancel = 458784, Invalid, "The job does not support cancel.";
    NotAuthorized = 6691623, Unauthorized, "User is not authorized.";
    NoUpdateFound = 10551297, Conflict, "No update is in progress.";
    NoUpdateToPause = 10551300, Conflict, "There is no update to be paused.";
    NotPaused = 10551303, Conflict, "The update is not paused; only a paused update can be resumed.";
    CannotCancelNow = 10551306, Conflict, "The update cannot be canceled at this point.";
    StoreEmpty = 10551315, NotFound, "Package store is empty";
    CleanupOnNode = 10551323, Internal, "Error in cleaning up package information on a node";
    CleanupOnNodes = 10551324, Internal, "Error in cleaning up package information on multiple nodes";
    CannotCreateTask = 10551320, Unavailable, "The cluster's record is temporarily locked; try again.";
    NoPackage = 10551325, NotFound, "Package does not exist on the system";
    PackageExists = 10551327, Conflict, "Package image with the same name already exists on the system.";
    DeleteDuringValidation = 10551346, Conflict, "Package delete failed since a validation is in progress";
    DeleteDuringUpdate = 10551347, Conflict, "Package delete failed since an update is in progress";
    PackageBeingDeleted = 10551354, Conflict, "The package is being deleted.";
    UpdateInProgress = 10551357, Conflict, "A previous update is still in progress.";
    ProcessingFailed = 10551359, Invalid, "Processing the package failed.";
    SyncInProgress = 10551367, Conflict, "A package synchronization is in progress";
    NodesNotPairs = 10551368, Invalid, "The nodes to update must be HA pairs.";
    UploadTooSlow = 10551373, Invalid, "The upload did not finish in the time allowed.";
    DownloadFailed = 10551381, Invalid, "The package could not be downloaded.";
    GetInProgress = 10551382, Conflict, "Software get operation already in progress";
    DeleteTimedOut = 10551388, Internal, "Package delete operation timed out";
    GetFailed = 10551391, Internal, "The package could not be taken in.";
    ValidationWarnings = 10551395, Conflict,
        "The validation gave warnings. Resolve them, or skip them with \"skip_warnings\".";
    ValidationFailed = 10551396, Conflict, "The validation failed. See \"validation_results\".";
    PauseBeforeCancel = 10551524, Conflict, "The update is running. Pause it before canceling it.";
    NotThisConfiguration = 10551558, Invalid, "This configuration is not supported.";
    ValidationInProgress = 10551656, Conflict, "A validation is in progress.";
    DownloadRunning = 10551760, Conflict, "Package download in progress";
    UploadDisabled = 10551798, Forbidden,
        "File upload is disabled. Set \"enabled = true\" in the section upload of evenkeeld.toml.";
    UploadNameTooLong = 10551799, Invalid, "The name of the file is too long.";
    UploadPermission = 10551800, Internal, "Internal error. Access permissions restrict file upload.";
    UploadIo = 10551801, Internal, "Internal error. A read/write error occurred when uploading this file.";
    UploadHandle = 10551802, Internal,
        "An invalid argument was supplied to create a file handle. Try uploading the file again.";
    UploadUnknown = 10551803, Internal, "An unknown error occurred. Retry file upload operation again.";
    UploadNoSpace = 10551804, Internal,
        "There is not sufficient space in the file upload directory to upload this file.";
    UploadSetup = 10551805, Internal, "Internal error. The folder for the upload cannot be made.";
    UploadReadOnly = 10551806, Internal, "Internal error. The folder for the upload cannot be written to.";
    UploadSingleFile = 10551807, Invalid,
        "The request must only contain a single file. More than one file per request is not supported.";
    UploadNotMultipart = 10551808, Invalid, "The request must be multipart/form-data.";
    AlreadyAtVersion = 10551854, Conflict, "All nodes are already at this version.";
    NoVersion = 10551872, Invalid, "Package version is not mentioned.";
    BadUrl = 10551885, Invalid, "The URL does not name a file on a server.";
    BadActionForState = 10551910, Conflict, "The action is invalid in the current state of the update.";
    UrlSyntax = 39387137, Invalid, "The URL is not of the form scheme://host/path.";
    UrlScheme = 39387138, Invalid, "The scheme of the URL is not supported. Use http, https or ftp.";
    BodyTooLarge = 990000001, TooLarge, "The body of the request is too large.";
    InternalError = 990000002, Internal, "Internal error.";
    TemporarilyUnavailable = 990000003, Unavailable, "Temporarily unavailable: the API is temporarily locked; try again.";
    OutcomeUnknown = 990000004, Internal,
        "Whether the request was accepted is not known. Look whether it was carried out before you try again.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_planning_and_admission_has_its_status_here() {
        use evenkeel_model::code;
        let used = [
            (code::DUPLICATE, 409),
            (code::IN_USE, 409),
            (code::INVALID_VALUE, 400),
            (code::NO_UPDATE, 409),
            (code::NO_UPDATE_TO_PAUSE, 409),
            (code::NOT_PAUSED, 409),
            (code::CANNOT_CANCEL, 409),
            (code::CANNOT_CREATE_TASK, 503),
            (code::STORE_EMPTY, 404),
            (code::CLEANUP_NODE, 500),
            (code::CLEANUP_NODES, 500),
            (code::DELETE_TIMED_OUT, 500),
            (code::NO_PACKAGE, 404),
            (code::PACKAGE_EXISTS, 409),
            (code::DELETE_DURING_VALIDATION, 409),
            (code::DELETE_DURING_UPDATE, 409),
            (code::PACKAGE_BEING_DELETED, 409),
            (code::UPDATE_IN_PROGRESS, 409),
            (code::PROCESSING_FAILED, 400),
            (code::SYNC_IN_PROGRESS, 409),
            (code::DOWNLOAD_FAILED, 400),
            (code::GET_IN_PROGRESS, 409),
            (code::GET_FAILED, 500),
            (code::VALIDATION_WARNINGS, 409),
            (code::VALIDATION_FAILED, 409),
            (code::PAUSE_BEFORE_CANCEL, 409),
            (code::VALIDATION_IN_PROGRESS, 409),
            (code::UPLOAD_PERMISSION, 500),
            (code::UPLOAD_IO, 500),
            (code::UPLOAD_HANDLE, 500),
            (code::UPLOAD_SETUP, 500),
            (code::UPLOAD_READ_ONLY, 500),
            (code::NO_SPACE, 500),
            (code::NOT_SUPPORTED, 400),
            (code::NOT_HA_PAIRS, 400),
            (code::ALREADY_AT_VERSION, 409),
            (code::NO_VERSION, 400),
            (code::WRONG_STATE, 409),
            (code::INTERNAL, 500),
            (code::OUTCOME_UNKNOWN, 500),
        ];
        for (number, status) in used {
            let known = Code::from_number(number).map(|code| code.class().http_status());
            assert_eq!(known, Some(status), "{number}");
        }
    }

    #[test]
    fn only_the_two_meanings_of_3_share_a_number() {
        let mut numbers: Vec<_> = Code::ALL.iter().map(|code| code.number()).collect();
        let total = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(total - numbers.len(), 1);
        assert_eq!(Code::from_number(3), Some(Code::UnknownUrl));
    }
}
