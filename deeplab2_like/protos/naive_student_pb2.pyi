from deeplab2_like.protos import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StudentStart(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INITIAL_CHECKPOINT: _ClassVar[StudentStart]
    RANDOM: _ClassVar[StudentStart]
    TEACHER: _ClassVar[StudentStart]
INITIAL_CHECKPOINT: StudentStart
RANDOM: StudentStart
TEACHER: StudentStart

class NaiveStudentOptions(_message.Message):
    __slots__ = ("rounds", "student_start", "student_backbone", "student_initial_checkpoint", "pseudo_share", "student_steps", "fine_tuning_steps", "fine_tuning_learning_rate", "label_scales", "label_mirrored", "confidence_threshold", "class_balance", "ignore_mask")
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    STUDENT_START_FIELD_NUMBER: _ClassVar[int]
    STUDENT_BACKBONE_FIELD_NUMBER: _ClassVar[int]
    STUDENT_INITIAL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PSEUDO_SHARE_FIELD_NUMBER: _ClassVar[int]
    STUDENT_STEPS_FIELD_NUMBER: _ClassVar[int]
    FINE_TUNING_STEPS_FIELD_NUMBER: _ClassVar[int]
    FINE_TUNING_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    LABEL_SCALES_FIELD_NUMBER: _ClassVar[int]
    LABEL_MIRRORED_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CLASS_BALANCE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_MASK_FIELD_NUMBER: _ClassVar[int]
    rounds: int
    student_start: StudentStart
    student_backbone: _model_pb2.ModelOptions.BackboneOptions
    student_initial_checkpoint: str
    pseudo_share: float
    student_steps: int
    fine_tuning_steps: int
    fine_tuning_learning_rate: float
    label_scales: _containers.RepeatedScalarFieldContainer[float]
    label_mirrored: bool
    confidence_threshold: float
    class_balance: float
    ignore_mask: str
    def __init__(self, rounds: _Optional[int] = ..., student_start: _Optional[_Union[StudentStart, str]] = ..., student_backbone: _Optional[_Union[_model_pb2.ModelOptions.BackboneOptions, _Mapping]] = ..., student_initial_checkpoint: _Optional[str] = ..., pseudo_share: _Optional[float] = ..., student_steps: _Optional[int] = ..., fine_tuning_steps: _Optional[int] = ..., fine_tuning_learning_rate: _Optional[float] = ..., label_scales: _Optional[_Iterable[float]] = ..., label_mirrored: bool = ..., confidence_threshold: _Optional[float] = ..., class_balance: _Optional[float] = ..., ignore_mask: _Optional[str] = ...) -> None: ...
