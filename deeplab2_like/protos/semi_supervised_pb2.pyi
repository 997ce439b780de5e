from deeplab2_like.protos import consistency_pb2 as _consistency_pb2
from deeplab2_like.protos import naive_student_pb2 as _naive_student_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union
from deeplab2_like.protos.consistency_pb2 import ConsistencyOptions as ConsistencyOptions
from deeplab2_like.protos.naive_student_pb2 import NaiveStudentOptions as NaiveStudentOptions
from deeplab2_like.protos.naive_student_pb2 import StudentStart as StudentStart

DESCRIPTOR: _descriptor.FileDescriptor
INITIAL_CHECKPOINT: _naive_student_pb2.StudentStart
RANDOM: _naive_student_pb2.StudentStart
TEACHER: _naive_student_pb2.StudentStart

class SemiSupervisedOptions(_message.Message):
    __slots__ = ("method", "unlabeled_pattern", "naive_student", "consistency")
    class Method(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[SemiSupervisedOptions.Method]
        NAIVE_STUDENT: _ClassVar[SemiSupervisedOptions.Method]
        MEAN_TEACHER: _ClassVar[SemiSupervisedOptions.Method]
        WEAK_TO_STRONG: _ClassVar[SemiSupervisedOptions.Method]
    NONE: SemiSupervisedOptions.Method
    NAIVE_STUDENT: SemiSupervisedOptions.Method
    MEAN_TEACHER: SemiSupervisedOptions.Method
    WEAK_TO_STRONG: SemiSupervisedOptions.Method
    METHOD_FIELD_NUMBER: _ClassVar[int]
    UNLABELED_PATTERN_FIELD_NUMBER: _ClassVar[int]
    NAIVE_STUDENT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    method: SemiSupervisedOptions.Method
    unlabeled_pattern: str
    naive_student: _naive_student_pb2.NaiveStudentOptions
    consistency: _consistency_pb2.ConsistencyOptions
    def __init__(self, method: _Optional[_Union[SemiSupervisedOptions.Method, str]] = ..., unlabeled_pattern: _Optional[str] = ..., naive_student: _Optional[_Union[_naive_student_pb2.NaiveStudentOptions, _Mapping]] = ..., consistency: _Optional[_Union[_consistency_pb2.ConsistencyOptions, _Mapping]] = ...) -> None: ...
