from deeplab2_like.protos import dataset_pb2 as _dataset_pb2
from deeplab2_like.protos import evaluator_pb2 as _evaluator_pb2
from deeplab2_like.protos import model_pb2 as _model_pb2
from deeplab2_like.protos import semi_supervised_pb2 as _semi_supervised_pb2
from deeplab2_like.protos import consistency_pb2 as _consistency_pb2
from deeplab2_like.protos import naive_student_pb2 as _naive_student_pb2
from deeplab2_like.protos import trainer_pb2 as _trainer_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union
from deeplab2_like.protos.dataset_pb2 import DatasetOptions as DatasetOptions
from deeplab2_like.protos.dataset_pb2 import PaddingMode as PaddingMode
from deeplab2_like.protos.dataset_pb2 import OnDamage as OnDamage
from deeplab2_like.protos.evaluator_pb2 import EvaluatorOptions as EvaluatorOptions
from deeplab2_like.protos.evaluator_pb2 import PanopticQualityVariant as PanopticQualityVariant
from deeplab2_like.protos.model_pb2 import DecoderOptions as DecoderOptions
from deeplab2_like.protos.model_pb2 import LowLevelOptions as LowLevelOptions
from deeplab2_like.protos.model_pb2 import HeadOptions as HeadOptions
from deeplab2_like.protos.model_pb2 import InstanceOptions as InstanceOptions
from deeplab2_like.protos.model_pb2 import ModelOptions as ModelOptions
from deeplab2_like.protos.semi_supervised_pb2 import SemiSupervisedOptions as SemiSupervisedOptions
from deeplab2_like.protos.trainer_pb2 import SolverOptions as SolverOptions
from deeplab2_like.protos.trainer_pb2 import LossOptions as LossOptions
from deeplab2_like.protos.trainer_pb2 import WatchdogOptions as WatchdogOptions
from deeplab2_like.protos.trainer_pb2 import TrainerOptions as TrainerOptions
from deeplab2_like.protos.trainer_pb2 import KeptOptimizer as KeptOptimizer

DESCRIPTOR: _descriptor.FileDescriptor
CONSTANT: _dataset_pb2.PaddingMode
REFLECT: _dataset_pb2.PaddingMode
FAIL: _dataset_pb2.OnDamage
SKIP: _dataset_pb2.OnDamage
PANOPTICAPI: _evaluator_pb2.PanopticQualityVariant
DEEPLAB2: _evaluator_pb2.PanopticQualityVariant
ALL: _trainer_pb2.KeptOptimizer
LAST: _trainer_pb2.KeptOptimizer

class ExperimentOptions(_message.Message):
    __slots__ = ("experiment_name", "model_options", "trainer_options", "train_dataset_options", "evaluator_options", "eval_dataset_options", "semi_supervised")
    EXPERIMENT_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAINER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_DATASET_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EVALUATOR_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EVAL_DATASET_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SEMI_SUPERVISED_FIELD_NUMBER: _ClassVar[int]
    experiment_name: str
    model_options: _model_pb2.ModelOptions
    trainer_options: _trainer_pb2.TrainerOptions
    train_dataset_options: _dataset_pb2.DatasetOptions
    evaluator_options: _evaluator_pb2.EvaluatorOptions
    eval_dataset_options: _dataset_pb2.DatasetOptions
    semi_supervised: _semi_supervised_pb2.SemiSupervisedOptions
    def __init__(self, experiment_name: _Optional[str] = ..., model_options: _Optional[_Union[_model_pb2.ModelOptions, _Mapping]] = ..., trainer_options: _Optional[_Union[_trainer_pb2.TrainerOptions, _Mapping]] = ..., train_dataset_options: _Optional[_Union[_dataset_pb2.DatasetOptions, _Mapping]] = ..., evaluator_options: _Optional[_Union[_evaluator_pb2.EvaluatorOptions, _Mapping]] = ..., eval_dataset_options: _Optional[_Union[_dataset_pb2.DatasetOptions, _Mapping]] = ..., semi_supervised: _Optional[_Union[_semi_supervised_pb2.SemiSupervisedOptions, _Mapping]] = ...) -> None: ...
